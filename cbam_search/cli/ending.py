"""How commands end by a signal, or because nobody reads their output: with an exit code that says so and no traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from cbam_search.cli.output import let_go
from cbam_search.errors import StudyInterrupted
from cbam_search.running.signals import ENDING, ended_by_signals

EXIT_CODE_OF_CLOSED_OUTPUT = 128 + signal.SIGPIPE


def ending(command: Callable[..., None]) -> Callable[..., None]:
    """The command, ended by SIGTERM and SIGHUP as by Ctrl-C: 128 and the signal's number is its exit code."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            with ended_by_signals():
                command(*arguments, **options)
        except KeyboardInterrupt as error:
            code = getattr(error, "exit_code", 128 + signal.SIGINT)
            if isinstance(error, StudyInterrupted) and code == EXIT_CODE_OF_CLOSED_OUTPUT:
                typer.echo(error, err=True)
            raise typer.Exit(code) from None
        except BrokenPipeError:
            # The reader of our output (head, less) is gone; nothing is left to say.
            let_go(sys.stdout)
            raise typer.Exit(EXIT_CODE_OF_CLOSED_OUTPUT) from None

    return run


def by_default_from_here() -> None:
    """Signals kill the process: all that is left is Python's own way out, which tells of a Ctrl-C with a traceback."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
