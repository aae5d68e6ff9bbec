"""Evaluations that nobody trains, on a fake clock: a search of hundreds of trials in seconds.

Benchmarks replay recorded trainings with it, and tests try what a driver does; whoever writes a sampler or a scheduler can do
the same. Only the training is replaced: proposals, rungs and records are the study's own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from cbam_search.running.executors.executor import SECONDS_TO_CLOSE, Executor, ExecutorEvent, Reported, WorkerLost
from cbam_search.running.last_words import WorkerDeath
from cbam_search.running.worker_report import EvaluationTask, WorkerReport

Steps = Iterator[tuple[float, WorkerReport | None]]
"""What each step takes in seconds, and what it reports; None where the worker dies in it, and the evaluation begins again. The
last one ends the evaluation.
"""
Simulation = Callable[[EvaluationTask], Steps]


class SimulatedExecutor(Executor):
    """Steps end in the order of the fake clock; those that end at the same time in the order in which they began."""

    def __init__(self, simulation: Simulation, *, workers: int) -> None:
        """workers: evaluations at once."""
        super().__init__()
        self._simulation = simulation
        self._workers = workers
        self._now_seconds = 0.0
        self._order = count()
        self._tasks: dict[str, EvaluationTask] = {}
        self._trainings: dict[str, Steps] = {}
        self._steps: list[tuple[float, int, str, Steps, WorkerReport | None]] = []
        self._reported: str | None = None
        """Whose last step was an event, and who takes the next one only when events are asked for again."""
        self._interrupted = False

    def clock(self) -> float:
        """Seconds since the start, of the fake clock."""
        return self._now_seconds

    def capacity(self) -> int:
        return 0 if self._interrupted else self._workers - len(self._running)

    def start(self, task: EvaluationTask) -> None:
        self._running.add(task.evaluation)
        self._tasks[task.evaluation] = task
        self._begin(task)

    def stop(self, evaluation: str) -> None:
        self._running.discard(evaluation)
        self._trainings.pop(evaluation, None)
        self._tasks.pop(evaluation, None)

    def events(self, timeout_seconds: float) -> Sequence[ExecutorEvent]:  # noqa: ARG002
        if self._reported is not None:
            self._take_step(self._reported)
            self._reported = None
        while self._steps:
            ended_seconds, _, evaluation, training, report = heapq.heappop(self._steps)
            if self._trainings.get(evaluation) is not training:
                continue
            self._now_seconds = ended_seconds
            if report is None:
                self._begin(self._tasks[evaluation])
                return (WorkerLost(evaluation, WorkerDeath("died on the fake clock")),)
            if report.ended:
                self.stop(evaluation)
            else:
                self._reported = evaluation
            return (Reported(evaluation, report),)
        return ()

    def no_more_tasks(self) -> None:
        """Nothing to do: it takes none by itself."""

    def interrupt(self) -> None:
        self._interrupted = True
        self.close()

    def close(self, *, at_most_seconds: float = SECONDS_TO_CLOSE) -> None:  # noqa: ARG002
        self._running.clear()
        self._trainings.clear()
        self._steps.clear()

    def _begin(self, task: EvaluationTask) -> None:
        self._trainings[task.evaluation] = self._simulation(task)
        self._take_step(task.evaluation)

    def _take_step(self, evaluation: str) -> None:
        """Where it still runs."""
        training = self._trainings.get(evaluation)
        if training is not None:
            seconds, report = next(training)
            heapq.heappush(self._steps, (self._now_seconds + seconds, next(self._order), evaluation, training, report))
