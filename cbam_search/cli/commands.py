"""`cbam-search`: the list of commands. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cbam_search.cli.ending import ending
from cbam_search.cli.plans import plan
from cbam_search.cli.spaces import cost, schema, tables, validate
from cbam_search.cli.studies import export, front, launch, resume, track
from cbam_search.cli.tabulate_command import tabulate
from cbam_search.cli.versions import versions_text
from cbam_search.cli.watching import logs, status, stop
from cbam_search.errors import UserError
from cbam_search.safe_text import reason

app = typer.Typer(
    name="cbam-search",
    help="Find out whether attention pays in your image classifier: in which blocks, of which kind (SE, CBAM, ECA, BAM, "
    "Global Context, Coordinate Attention), with which settings, and at what cost. In ResNets, ResNeXts, MobileNets and "
    "networks of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (launch, resume, status, stop, logs, front, export, track, validate, plan, tabulate, cost, tables, schema):
    app.command()(ending(command))


def _print_versions(asked: bool) -> None:
    if asked:
        typer.echo(versions_text())
        raise typer.Exit


@app.callback()
def _before_every_command(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_versions, is_eager=True, help="Print the versions that a bug report needs."),
    ] = False,
) -> None:
    """Refuse to work in a folder that was removed: relative paths mean nothing there, and torch cannot be loaded."""
    try:
        os.getcwd()  # noqa: PTH109 (Path.cwd would do the same)
    except OSError as error:
        raise UserError(
            f"the folder that this command is typed in is gone or cannot be told: {reason(error, with_file=False)}. Go to "
            f"another one with cd"
        ) from None
