"""Standard output that a study outlasts: a reader who is gone, a disk that is full."""

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


def let_go(stream: TextIO) -> None:
    """From now on nothing that is written to the stream comes anywhere, nor what it still holds."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    with suppress(OSError):
        stream.flush()
