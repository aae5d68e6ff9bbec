"""Commands that run studies and show their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cbam_search.cli.say import say
from cbam_search.cli.spaces import SpaceArgument

if TYPE_CHECKING:
    from cbam_search.study.study import Study

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A study's name, its folder, or 'latest'.")]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="Allow the YAML to name your own Python code, and run it.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show the messages of Ray and Optuna.")]


def launch(space: SpaceArgument, allow_code: AllowCode = False, verbose: Verbose = False) -> None:
    """Run the study that a YAML file describes, and print its front."""
    from cbam_search.cli.console import TerminalScreen
    from cbam_search.study.api import launch as launch_study

    launch_study(space, allow_code=allow_code, verbose=verbose, screen=TerminalScreen())


def resume(
    run: RunArgument = "latest",
    trials: Annotated[int | None, typer.Option(min=1, help="New limit on trainings, those before included.")] = None,
    hours: Annotated[float | None, typer.Option(help="New limit on hours, those before included.")] = None,
    allow_code: AllowCode = False,
    verbose: Verbose = False,
) -> None:
    """Continue a study that was interrupted or killed, or extend it beyond its budget."""
    from cbam_search.cli.console import TerminalScreen
    from cbam_search.study.api import resume as resume_study

    resume_study(run, trials=trials, hours=hours, allow_code=allow_code, verbose=verbose, screen=TerminalScreen())


def front(run: RunArgument = "latest", as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the Pareto front of a study, with the published designs beside it."""
    from cbam_search.cli.console import print_front
    from cbam_search.study.study import open_study

    study = open_study(run)
    if as_json:
        typer.echo(json.dumps(_front_as_json(study)))
    else:
        print_front(study)


def export(
    run: RunArgument = "latest",
    output: Annotated[Path, typer.Option(help="Folder to write the module to.")] = Path("exported"),
    pick: Annotated[str, typer.Option(help="knee, best-accuracy, or the number of a trial.")] = "knee",
    allow_code: AllowCode = False,
) -> None:
    """Write a trained network as a Python module that needs torch only."""
    from cbam_search.study.study import open_study

    study = open_study(run)
    trial = study.pick(pick)
    folder = study.export(output, pick=str(trial.number), allow_code=allow_code)
    say(f"trial {trial.number} ({trial.candidate.label}) of study {study.name} is in {folder}")


def track(run: RunArgument = "latest") -> None:
    """Write a whole study to MLflow: what is there already does not come twice, and deleted runs come back."""
    from cbam_search.study.mlflow_upload import send_to_mlflow

    say(send_to_mlflow(run))


def _front_as_json(study: Study) -> dict[str, Any]:
    from cbam_search.records.trials import Origin
    from cbam_search.report.front_table import front_table
    from cbam_search.report.replayed import replayed_json

    trials = [trial for trial in study.trials.values() if trial.was_trained]
    rows = front_table(trials, study.manifest.objectives)
    return {
        "study": study.name,
        "objectives": {objective.name: objective.direction for objective in study.manifest.objectives},
        "latency": study.manifest.latency.model_dump(mode="json") if study.manifest.latency else None,
        "hypervolume": study.front.hypervolume,
        "front": [
            row | {"architecture": study.trials[row["trial"]].candidate.architecture.model_dump(mode="json")}
            for row in rows
            if row["pareto_rank"] == 0
        ],
        "published": [row for row in rows if row["published"]],
        "excluded": list(study.manifest.excluded),
        "replayed": replayed_json(trials),
        "warm_start": {
            "from": study.manifest.warm_start.study if study.manifest.warm_start else None,
            "trials": [row for row in rows if row["origin"] == Origin.WARM_START.value],
        },
    }
