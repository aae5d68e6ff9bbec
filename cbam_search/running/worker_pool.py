"""Plain worker processes that survive each other's deaths.

No Ray: a table is made on one machine, of trainings that are known beforehand, need no scheduler, and may take well under a
second each, less than Ray takes to hand one out. `concurrent.futures` gives up the whole pool when one process dies; here the
process is replaced and its task is done again.
"""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import IO, Generic, TypeVar

from cbam_search.errors import StudyFailedError
from cbam_search.running.last_words import death_of, end_of
from cbam_search.running.pool_process import Failure
from cbam_search.running.worker_path import worker_path

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

DEATHS_AT_MOST = 3
"""A task with which so many workers died is not tried again."""
_SECONDS_TO_DIE = 5.0


@dataclass
class _Worker(Generic[TaskT]):
    """written: what its process writes to stdout and stderr."""

    process: subprocess.Popen[bytes]
    connection: Connection
    written: IO[bytes]
    task: TaskT
    deaths: int


def run_tasks(
    start: Callable[[int], Callable[[TaskT], ResultT]], tasks: Iterable[TaskT], *, workers: int
) -> Generator[tuple[TaskT, ResultT]]:
    """Do `tasks` in `workers` processes; each with its result, as they finish.

    start: picklable; called once in each process with the worker's number, from 0, it returns what does a task there. Workers
    are new interpreters, ignore Ctrl-C, and die with this process, however it ends. Closing the iterator, or an exception in
    it, ends them at once. Raises StudyFailedError when a task raised an error, or killed its worker three times: with what the
    worker wrote last.
    """
    waiting = iter(tasks)
    running: dict[int, _Worker[TaskT]] = {}
    try:
        for number, task in zip(range(workers), waiting, strict=False):
            running[number] = _started(start, number, task, deaths=0)
        while running:
            by_connection = {worker.connection: number for number, worker in running.items()}
            for connection in wait(list(by_connection)):
                assert isinstance(connection, Connection)
                number = by_connection[connection]
                worker = running[number]
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    running[number] = _replaced(start, number, worker)
                    continue
                if isinstance(answer, Failure):
                    raise StudyFailedError(f"{worker.task} failed:\n{answer.text}")
                yield worker.task, answer
                for task in islice(waiting, 1):
                    worker.task, worker.deaths = task, 0
                    _send(worker)
                    break
                else:
                    _end(running.pop(number))
    finally:
        for worker in running.values():
            worker.process.kill()
        for worker in running.values():
            _end(worker)


# Not multiprocessing's own processes: these would run the user's script again, and look for modules in the current folder.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from cbam_search.running.pool_process import serve; serve({descriptor}, {number})"
)


def _started(start: Callable[[int], Callable[[TaskT], ResultT]], number: int, task: TaskT, deaths: int) -> _Worker[TaskT]:
    here, there = multiprocessing.Pipe()
    written = tempfile.TemporaryFile()  # noqa: SIM115
    program = _PROGRAM.format(path=worker_path(), descriptor=there.fileno(), number=number)
    # Ctrl-C goes to all processes of a terminal; a new one is born deaf to it, before `serve` can say so.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", "-c", program],
            pass_fds=[there.fileno()],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=written,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    there.close()
    worker = _Worker(process, here, written, task, deaths)
    with suppress(OSError):
        here.send(start)
    _send(worker)
    return worker


def _send(worker: _Worker[TaskT]) -> None:
    # Reading from a worker that died says so too.
    with suppress(OSError):
        worker.connection.send(worker.task)


def _replaced(start: Callable[[int], Callable[[TaskT], ResultT]], number: int, dead: _Worker[TaskT]) -> _Worker[TaskT]:
    dead.process.wait()
    death = death_of(end_of(dead.written), _in_words(dead.process.returncode))
    _end(dead)
    deaths = dead.deaths + 1
    if deaths >= DEATHS_AT_MOST:
        raise StudyFailedError(
            f"{dead.task}: {deaths} workers died with it, the last with exit code {dead.process.returncode}: {death.reason}"
            + (f"\n{death.details}" if death.details else "")
        )
    return _started(start, number, dead.task, deaths)


def _end(worker: _Worker[TaskT]) -> None:
    """Wait for the process, which has no more to do."""
    worker.connection.close()
    try:
        worker.process.wait(_SECONDS_TO_DIE)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        worker.process.wait()
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    worker.written.close()


def _in_words(exit_code: int) -> str:
    """Of a process that wrote nothing."""
    if exit_code == -signal.SIGKILL:
        return "killed, often for want of memory; fewer workers need less"
    return f"ended by {signal.Signals(-exit_code).name}" if exit_code < 0 else "it left without a word"
