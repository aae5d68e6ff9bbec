"""The `plan` command: what a search would train, cost and take, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cbam_search.cli.say import say
from cbam_search.cli.spaces import SpaceArgument
from cbam_search.cli.studies import AllowCode


def plan(
    space: SpaceArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the distribution of costs and the published designs: a .png or .svg file.")
    ] = None,
    probe: Annotated[bool, typer.Option(help="Time an epoch of three networks on this machine; a few seconds.")] = True,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Height and width of the images, to plan without the data; default: the YAML's.")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=2, help="Number of classes, to plan without the data.")] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Input channels, to plan without the data; default: 3.")] = None,
    allow_code: AllowCode = False,
) -> None:
    """Print how large a YAML file's space is, what its networks cost, how long the search would take here, and warnings."""
    from cbam_search.report.plan_json import plan_json
    from cbam_search.report.terminal.plan import plan_text
    from cbam_search.study.make_plan import StandIn, make_plan

    if picture is not None:
        from cbam_search.report.figures.plan import check_picture, plan_picture

        check_picture(picture)
    made = make_plan(space, allow_code=allow_code, probe=probe, stand_in=StandIn(image_size, classes, channels))
    if as_json:
        typer.echo(json.dumps(plan_json(made)))
    else:
        say(plan_text(made))
    if picture is not None:
        plan_picture(made, picture)
