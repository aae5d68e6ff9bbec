"""What spawned workers do in tests: in a module of their own, which a new process can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def square(worker: int) -> Callable[[int], tuple[int, int]]:
    return lambda task: (task * task, worker)


def deadly(folder: Path, times: int, worker: int) -> Callable[[int], int]:
    """Task 3 kills its worker so many times, as the machine's memory killer does."""

    def work(task: int) -> int:
        if task == 3 and len(list(folder.iterdir())) < times:
            (folder / f"{time.monotonic_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -task

    return work


def aborting(worker: int) -> Callable[[int], int]:
    """C code that aborts after a message of its own."""

    def work(task: int) -> int:
        os.write(2, b"what():  CUDA error: no kernel image\n")
        os.abort()

    return work


def faulty(worker: int) -> Callable[[int], int]:
    return lambda task: 1 // task


def slow(folder: Path, worker: int) -> Callable[[int], int]:
    (folder / str(os.getpid())).touch()
    return lambda task: time.sleep(60) or task
