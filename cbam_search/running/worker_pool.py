"""Plain worker processes that survive each other's deaths.

No Ray: a table is made on one machine, of trainings that are known beforehand, need no scheduler, and may take well under a
second each, less than Ray takes to hand one out. `concurrent.futures` gives up the whole pool when one process dies; here the
process is replaced and its task is done again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from cbam_search.errors import StudyFailedError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

DEATHS_AT_MOST = 3
"""A task with which so many workers died is not tried again."""
_SECONDS_TO_DIE = 5.0


@dataclass
class _Worker(Generic[TaskT]):
    process: BaseProcess
    connection: Connection
    task: TaskT
    deaths: int


def run_tasks(
    start: Callable[[int], Callable[[TaskT], ResultT]], tasks: Iterable[TaskT], *, workers: int
) -> Generator[tuple[TaskT, ResultT]]:
    """Do `tasks` in `workers` processes; each with its result, as they finish.

    start: picklable; called once in each process with the worker's number, from 0, it returns what does a task there. Workers
    are started afresh (spawn), ignore Ctrl-C, and die with this process, however it ends. Closing the iterator, or an
    exception in it, ends them at once. Raises StudyFailedError when a task raised an error, or killed its worker three times.
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
                if isinstance(answer, _Failure):
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


@dataclass(frozen=True)
class _Failure:
    text: str


def _started(start: Callable[[int], Callable[[TaskT], ResultT]], number: int, task: TaskT, deaths: int) -> _Worker[TaskT]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, start, number), daemon=True, name=f"worker-{number}")
    # Ctrl-C goes to all processes of a terminal; a new one is born deaf to it, before `_serve` can say so.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    there.close()
    worker = _Worker(process, here, task, deaths)
    _send(worker)
    return worker


def _send(worker: _Worker[TaskT]) -> None:
    # Reading from a worker that died says so too.
    with suppress(OSError):
        worker.connection.send(worker.task)


def _replaced(start: Callable[[int], Callable[[TaskT], ResultT]], number: int, dead: _Worker[TaskT]) -> _Worker[TaskT]:
    _end(dead)
    deaths = dead.deaths + 1
    if deaths >= DEATHS_AT_MOST:
        raise StudyFailedError(
            f"{dead.task}: {deaths} workers died with it, the last with exit code {dead.process.exitcode} (-9: killed, often "
            f"for want of memory; fewer workers need less)"
        )
    return _started(start, number, dead.task, deaths)


def _end(worker: _Worker[TaskT]) -> None:
    worker.connection.close()
    worker.process.join(_SECONDS_TO_DIE)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _serve(connection: Connection, start: Callable[[int], Callable[[TaskT], ResultT]], number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        work: Callable[[TaskT], ResultT] | None = None
        while True:
            task = connection.recv()
            try:
                work = work or start(number)
                answer: ResultT | _Failure = work(task)
            except Exception:
                answer = _Failure(traceback.format_exc())
            connection.send(answer)
    except (EOFError, OSError):
        # No task is left, or nobody to report to.
        return


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
