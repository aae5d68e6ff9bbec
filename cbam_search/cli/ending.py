"""How commands end by a signal, or because nobody reads their output: with an exit code that says so and no traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import typer

from cbam_search.cli.output import let_go
from cbam_search.errors import StudyInterrupted
from cbam_search.running.interruption import EXIT_CODE_OF_CLOSED_OUTPUT
from cbam_search.running.signals import ENDING, ended_by_signals

EXIT_CODES_OF_SIGNALS = 128
"""From there on."""


def ending(command: Callable[..., None]) -> Callable[..., None]:
    """The command, ended by SIGTERM and SIGHUP as by Ctrl-C: 128 and the signal's number is its exit code."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            with ended_by_signals():
                command(*arguments, **options)
        except KeyboardInterrupt as error:
            code = getattr(error, "exit_code", EXIT_CODES_OF_SIGNALS + signal.SIGINT)
            if isinstance(error, StudyInterrupted) and code == EXIT_CODE_OF_CLOSED_OUTPUT:
                typer.echo(error, err=True)
            raise typer.Exit(code) from None
        except BrokenPipeError:
            # The reader of our output (head, less) is gone; nothing is left to say. Typer would make it a plain failure.
            let_go(sys.stdout)
            raise typer.Exit(EXIT_CODE_OF_CLOSED_OUTPUT) from None

    return run


def leave_at_once_after_a_signal(code: object) -> None:
    """After a signal: what other packages had begun may be half done, and must not hold up or crash the end."""
    if isinstance(code, int) and code > EXIT_CODES_OF_SIGNALS:
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def leave_at_once_on_signals(code: int) -> None:
    """All is done: a signal while Python shuts down would only bring a traceback. One that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: os._exit(code))
