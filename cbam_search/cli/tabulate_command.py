"""The `tabulate` command: train a whole small space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cbam_search.cli.say import say
from cbam_search.cli.spaces import SpaceArgument
from cbam_search.cli.studies import AllowCode


def tabulate(
    space: SpaceArgument,
    output: Annotated[Path, typer.Option(help="The parquet file to write.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each architecture: the YAML's seed and those after it.")] = 3,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings at once, each in a process; default: as many as launch would run here.")
    ] = None,
    limit_architectures: Annotated[
        int | None, typer.Option(min=1, help="Train a uniform random sample of so many, the published designs among them.")
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Train every architecture of a small space with several seeds, and write all curves to a table.

    Run again, the same command continues where it stopped.
    """
    from cbam_search.study.tabulate import tabulate as make

    made = make(space, output, seeds=seeds, workers=workers, limit=limit_architectures, allow_code=allow_code, note=say)
    if made.exit_code:
        raise typer.Exit(made.exit_code)
