"""Tune's side of `TuneExecutor`: what its thread asks and tells of trials, passed on to the driver as evaluations.

It knows which evaluation a trial of Tune's trains, and why workers died. It touches nothing of the study.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from cbam_search.running.executors.executor import ExecutorEvent, Reported, WorkerLost, WorkersDied
from cbam_search.running.executors.ray_deaths import death_in_words
from cbam_search.running.executors.ray_slots import SlotWatch
from cbam_search.running.executors.tune_hooks import NoMoreTasks, TuneListener
from cbam_search.running.executors.tune_trainable import REPORT_KEY, TASK_KEY
from cbam_search.running.last_words import WorkerDeath
from cbam_search.running.worker_report import REPORT, TASK, EvaluationTask, WorkerReport

WORKER_DEATHS_AT_MOST = 3

_NOTHING_KNOWN = WorkerDeath("Ray does not say why; the study's log may")

Call = str | ExecutorEvent
"""What is asked: a trial is wanted, for Ray's id; or what happened, and whether it goes on."""
Answer = EvaluationTask | NoMoreTasks | None


class TuneTrials(TuneListener):
    """Called in Tune's thread. running: the driver's own set of evaluations that were started and are to go on.

    ask: stands still until the driver has answered. slots: told which trials want a worker and which have one.
    is_interrupted: set by the driver, once no trial is to begin any more.
    """

    def __init__(self, running: set[str], ask: Callable[[Call], Answer], slots: SlotWatch) -> None:
        self.is_interrupted = False
        self._running = running
        self._ask = ask
        self._slots = slots
        self._tasks: dict[str, EvaluationTask] = {}
        """By Ray's id of the trial; those that have not ended."""
        self._again: list[EvaluationTask] = []
        """For other trials of Tune's than those that they began as."""
        self._deaths: Counter[str] = Counter()
        """Of workers, by evaluation."""
        self._told: dict[str, str] = {}
        self._why: dict[str, WorkerDeath] = {}
        """What Ray said of the last error, and what is known of it, by Ray's id of the trial."""

    def wanted(self, ray_id: str) -> dict[str, Any] | NoMoreTasks | None:
        if self.is_interrupted:
            # With None, where nothing runs, Tune would ask again for ten minutes before it looks whether it is to end.
            return NoMoreTasks()
        again = [task for task in self._again if task.evaluation in self._running]
        task, self._again = (again[0], again[1:]) if again else (self._ask(ray_id), [])
        if not isinstance(task, EvaluationTask):
            return task
        self._tasks[ray_id] = task
        self._slots.wants(ray_id)
        return {TASK_KEY: TASK.dump_json(task).decode()}

    def reported(self, ray_id: str, result: dict[str, Any]) -> bool:
        task = self._running_task(ray_id)
        if task is not None:
            self._ask(Reported(task.evaluation, _report(result)))
        return self._running_task(ray_id) is not None

    def ended(self, ray_id: str, result: dict[str, Any] | None, *, worker_died: bool) -> None:
        task = self._running_task(ray_id)
        self._tasks.pop(ray_id, None)
        self._slots.wants_no_more(ray_id)
        if task is None:
            return
        report = _report(result or {})
        # Where Tune was interrupted the last result may be one that was told before, and ends nothing.
        if report.ended:
            self._ask(Reported(task.evaluation, report))
        elif worker_died:
            self._died_for_good(ray_id, task)
        else:
            self._running.discard(task.evaluation)

    def evaluations(self) -> dict[str, str]:
        """By Ray's id of the trial, as they are now; for the driver's thread."""
        return {ray_id: task.evaluation for ray_id, task in dict(self._tasks).items()}

    def has_worker(self, ray_id: str) -> None:
        self._slots.wants_no_more(ray_id)

    def worker_lost(self, ray_id: str) -> None:
        self._slots.wants(ray_id)
        task = self._running_task(ray_id)
        if task is not None:
            self._lost(ray_id, task)

    def error(self, ray_id: str, told: str) -> None:
        # Tune says so twice of one death.
        if told and self._running_task(ray_id) is not None and self._told.get(ray_id) != told:
            self._told[ray_id] = told
            self._why[ray_id] = death_in_words(told)

    def interrupted(self) -> bool:
        return self.is_interrupted and not self._running

    def _lost(self, ray_id: str, task: EvaluationTask) -> None:
        self._deaths[task.evaluation] += 1
        self._ask(WorkerLost(task.evaluation, self._why.get(ray_id, _NOTHING_KNOWN)))

    def _died_for_good(self, ray_id: str, task: EvaluationTask) -> None:
        """As Tune sees it: a warm worker that died before it could begin is two deaths to it, and it gives up at the second."""
        if self._deaths[task.evaluation] == 0:
            self._lost(ray_id, task)
        if self._deaths[task.evaluation] < WORKER_DEATHS_AT_MOST:
            self._again.append(task)
        else:
            self._ask(WorkersDied(task.evaluation, self._why.get(ray_id, _NOTHING_KNOWN)))

    def _running_task(self, ray_id: str) -> EvaluationTask | None:
        task = self._tasks.get(ray_id)
        return task if task is not None and task.evaluation in self._running else None


def _report(result: dict[str, Any]) -> WorkerReport:
    return REPORT.validate_json(result[REPORT_KEY]) if REPORT_KEY in result else WorkerReport()
