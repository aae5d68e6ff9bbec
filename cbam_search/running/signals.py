"""Signals outside of a study's trials: they end the command at once, and what was begun is put away on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from cbam_search.errors import SignalReceived

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """The signals of these that this process acts on: one that it was started to ignore stays ignored.

    Ctrl-C is an exception. A shell script starts its background commands with Ctrl-C ignored, and yet a `kill -INT` is meant
    for them. Only where SIGHUP is ignored too, as by `nohup`, nothing typed at a terminal counts.
    """
    # None: a handler that was not installed from Python, which could not be put back.
    found = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    in_background = signal.getsignal(signal.SIGINT) is signal.SIG_IGN and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    if in_background and signal.SIGINT in numbers:
        found.append(signal.SIGINT)
    return found


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise SignalReceived for each of ENDING meanwhile, so that what was begun is put away.

    From the second on SIGTERM and SIGHUP do nothing, as the end is under way; Ctrl-C leaves at once. Handlers are put back at
    the end. Outside of the main thread signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        if received and number != signal.SIGINT:
            return
        received = True
        raise SignalReceived(number)

    before = {number: signal.signal(number, end) for number in heeded(ENDING)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kept_from_children(*numbers: signal.Signals) -> Iterator[None]:
    """Processes that start meanwhile never get these signals; this one does, at once."""
    over = threading.Event()
    # It takes the signals in place of this thread; what handles them runs in the main thread all the same.
    stand_in = threading.Thread(target=over.wait, name="takes signals", daemon=True)
    stand_in.start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        over.set()
        stand_in.join()
