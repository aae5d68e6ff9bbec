"""The last stop of every text on its way to the terminal: secrets are hidden there, and control characters shown."""

from __future__ import annotations

import typer

from cbam_search.safe_text import presentable


def say(text: object, *, err: bool = False) -> None:
    """Print a text for people; JSON, which escapes for itself and is read by programs, goes past it."""
    typer.echo(presentable(text), err=err)
