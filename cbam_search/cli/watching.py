"""Commands for a study that someone else drives: look at it, follow it, stop it. None of them needs torch or Ray."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated

import typer

from cbam_search.cli.say import say
from cbam_search.cli.studies import RunArgument

EXIT_CODES = {"complete": 0, "failed": 1, "running": 3, "interrupted": 4}
"""Of `status RUN`, by the study's state; 2 where there is no such study."""


def status(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A study's name, its folder, or 'latest'; without it: all studies.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say where a study stands, or all of them.

    With RUN, the exit code says it too: 0 complete, 1 failed, 2 not found, 3 running, 4 interrupted. Without RUN it is 0.
    """
    from cbam_search.records.folder import studies_folder
    from cbam_search.records.studies import find_study, studies_in
    from cbam_search.report.terminal.status import status_text, statuses_text
    from cbam_search.study.status import read_status, read_statuses

    if run is None:
        every = read_statuses(studies_in(studies_folder()))
        if as_json:
            typer.echo(json.dumps([each.model_dump(mode="json") for each in every]))
        else:
            nothing = f"there is no study in the folder {studies_folder()}. Start one with: cbam-search launch SPACE.yaml"
            say(statuses_text(every) or nothing)
        return
    found = read_status(find_study(run))
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json")))
    else:
        say(status_text(found))
    raise typer.Exit(EXIT_CODES[found.state.value])


def stop(
    run: RunArgument = "latest",
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds to wait at most; the request stands, and the exit code is 3.")
    ] = None,
) -> None:
    """Stop a study from elsewhere, as Ctrl-C would, and wait until it has stopped. `resume` goes on with it."""
    from cbam_search.records.studies import find_study
    from cbam_search.study.stop import stop_study

    if not stop_study(find_study(run), say, timeout_seconds=timeout):
        raise typer.Exit(EXIT_CODES["running"])


def logs(
    run: RunArgument = "latest",
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Go on with what happens, until the study is closed. A closed study ends it at once."
        ),
    ] = False,
    trial: Annotated[int | None, typer.Option(min=0, help="Only this trial, with every epoch and its error.")] = None,
) -> None:
    """Print what happened in a study, with the time of each event, and what Ray and Optuna had to say."""
    from cbam_search.records.studies import find_study
    from cbam_search.study.logs import follow_log, log_lines

    folder = find_study(run)
    lines = follow_log(folder, partial(say, err=True), trial=trial) if follow else log_lines(folder, trial=trial)
    for line in lines:
        say(line)
