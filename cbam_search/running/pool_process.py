"""The side of `worker_pool` that runs in a worker's process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True)
class Failure:
    """A task raised an error: its traceback."""

    text: str


def serve(descriptor: int, number: int) -> None:
    """Do tasks that come over the connection `descriptor`, as worker `number`, until none is left.

    The first thing that comes is what makes a task be done there: see `run_tasks`. stdin ends when the driver does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_driver, daemon=True).start()
    connection = Connection(descriptor)
    try:
        start: Callable[[int], Callable[[Any], Any]] = connection.recv()
        work: Callable[[Any], Any] | None = None
        while True:
            task = connection.recv()
            try:
                work = work or start(number)
                answer = work(task)
            except BaseException:
                answer = Failure(traceback.format_exc())
            connection.send(answer)
    except (EOFError, OSError):
        # No task is left, or nobody to report to.
        return


def _die_with_driver() -> None:
    while os.read(sys.stdin.fileno(), 1):
        continue
    os._exit(1)
