"""Standard output that a study outlasts: a reader who is gone, a disk that is full, a stream that was never open."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from cbam_search.safe_text import reason


class SteadyOutput:
    """A stream that never fails: once nothing can be written to it, what comes goes nowhere.

    closed_by_reader: whether a reader was there and is gone. Any other problem, such as a full disk, is said once on stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.closed_by_reader = False

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _failed(self, error: OSError) -> None:
        let_go(self._stream)
        if error.errno == errno.EPIPE:
            self.closed_by_reader = True
        else:
            with suppress(OSError):
                print(f"nothing more is printed, and the study goes on: {reason(error)}", file=sys.stderr)  # noqa: T201


def cannot_be_written(stream: TextIO) -> bool:
    """Whether what was printed last could not be."""
    try:
        stream.flush()
    except OSError:
        return True
    return False


def let_go(stream: TextIO) -> None:
    """From now on nothing that is written to the stream comes anywhere, nor what it still holds."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    with suppress(OSError):
        stream.flush()


def open_missing_streams() -> None:
    """Streams that whoever started this process had closed: others' files and sockets must not come by their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
