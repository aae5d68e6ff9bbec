"""Why a driver is to stop: a signal, a request of `cbam-search stop`, or a reader of its output who is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Self

from cbam_search.running.signals import heeded

WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
STOP_COMMAND = "cbam-search stop"
EXIT_CODE_OF_STOP = 128 + signal.SIGINT
OUTPUT_CLOSED = "a closed output"
EXIT_CODE_OF_CLOSED_OUTPUT = 128 + signal.SIGPIPE


class Interruption:
    """Asked between events, it says whether to stop; as a context manager it takes signals over meanwhile.

    The first signal asks for a clean stop; a second Ctrl-C raises KeyboardInterrupt. A signal that is ignored, as `nohup` has
    it for SIGHUP, stays ignored: see `heeded`. Outside of the main thread signals are left alone.
    """

    def __init__(
        self, stop_requested: Callable[[], bool] = lambda: False, output_closed: Callable[[], bool] = lambda: False
    ) -> None:
        self._stop_requested = stop_requested
        self._output_closed = output_closed
        self._before: dict[signal.Signals, Any] = {}
        self.by: str | None = None
        """What asked for the stop, as a word for the reader; None as long as nothing did."""
        self.exit_code = 0
        """For the command that was stopped: 128 and the signal's number, as shells count."""

    def __call__(self) -> bool:
        if self.by is None and self._stop_requested():
            self.by, self.exit_code = STOP_COMMAND, EXIT_CODE_OF_STOP
            _say("stopping after the epochs under way, as cbam-search stop asked")
        if self.by is None and self._output_closed():
            self.by, self.exit_code = OUTPUT_CLOSED, EXIT_CODE_OF_CLOSED_OUTPUT
            _say("nobody reads what this study prints any more; stopping after the epochs under way")
        return self.by is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in heeded(WORDS):
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.by is None:
            self.by, self.exit_code = WORDS[signal.Signals(number)], 128 + number
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _say("stopping after the epochs under way; Ctrl-C again leaves at once")
        else:
            _say(f"stopping after the epochs under way ({self.by})")


def _say(message: str) -> None:
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)  # noqa: T201


def _let_go_of_terminal() -> None:
    """The terminal is gone: what is written to it from now on would fail."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        if os.isatty(descriptor) or not _writable(descriptor):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _writable(descriptor: int) -> bool:
    try:
        os.write(descriptor, b"")
    except OSError:
        return False
    return True
