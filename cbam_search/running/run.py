"""The driver's loop: trials go from the conductor to an executor, and what became of them back again."""

from __future__ import annotations

from collections.abc import Callable

from cbam_search.records.trials import Trial
from cbam_search.running.conductor import Conductor
from cbam_search.running.executors.executor import Executor, Reported, Waits, WorkerLost
from cbam_search.running.worker_report import EvaluationTask

LOOK_UP_EVERY_SECONDS = 0.5
"""So often at least the loop looks whether it is to stop."""


def run_trials(conductor: Conductor, executor: Executor, interrupted: Callable[[], bool] = lambda: False) -> bool:
    """Run until the conductor has no more trials; True when `interrupted` said to stop before.

    The executor is left running, for its owner to close. Raises what went wrong in the study itself, such as RecordsError.
    """
    trials: dict[str, int] = {}
    while not interrupted():
        if not _fill(conductor, executor, trials):
            executor.no_more_tasks()
            if not executor.running:
                return False
        _take_events(conductor, executor, trials)
    executor.interrupt()
    while executor.running:
        _take_events(conductor, executor, trials)
    return True


def _fill(conductor: Conductor, executor: Executor, trials: dict[str, int]) -> bool:
    """Start as many trials as the executor takes; False once there will be none any more."""
    while executor.capacity() > 0 and not conductor.ended:
        trial = conductor.next()
        if trial is None:
            break
        trials[trial.evaluation] = trial.number
        executor.start(_task(trial, conductor.records.manifest.seed))
    return not conductor.ended


def _task(trial: Trial, seed: int) -> EvaluationTask:
    return EvaluationTask(trial.evaluation, trial.candidate.architecture, seed)


def _take_events(conductor: Conductor, executor: Executor, trials: dict[str, int]) -> None:
    for event in executor.events(LOOK_UP_EVERY_SECONDS):
        number = trials[event.evaluation]
        if isinstance(event, Reported):
            if conductor.take(number, event.report):
                executor.stop(event.evaluation)
        elif isinstance(event, Waits):
            conductor.waits(number, event.why)
        elif isinstance(event, WorkerLost):
            conductor.lost(number, event.death)
        else:
            conductor.workers_died(number, event.death)
