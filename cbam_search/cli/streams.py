"""Standard input and output as a command needs them: open, and able to take every character."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper

from cbam_search.cli.output import let_go
from cbam_search.safe_text import presentable


def prepare_streams() -> None:
    """Open the standard streams that are closed, on nothing; what the terminal's encoding lacks is written as an escape.

    A closed descriptor would be given to the next file that is opened, and whoever prints would write into that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # Takes the lowest that is free: this one. Processes that are started from here get it too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say_error(message: str) -> None:
    """Write a line to stderr, fit for people; nothing where nobody can read it."""
    with suppress(OSError, ValueError):
        print(presentable(message), file=sys.stderr, flush=True)  # noqa: T201


def finish_output() -> OSError | None:
    """Write what is left of the output; returns why it cannot be written. It is given up then, so that Python can exit."""
    try:
        sys.stdout.flush()
    except ValueError:  # it was closed
        return None
    except OSError as error:
        let_go(sys.stdout)
        return error
    return None
