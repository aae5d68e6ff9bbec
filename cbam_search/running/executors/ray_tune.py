"""Evaluations under Ray Tune: warm actors on the nodes of a Ray cluster, one a trial.

Tune has a loop of its own, which asks for trials and tells of results. It runs in a thread here, and takes turns with the
driver's thread: from each question on it stands still until the driver asks for `events` again. In between both may work. What
they share then are flags and sets that one of them changes in a single step, and Tune's thread touches nothing of the study.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner

from cbam_search.backbones.pretrained import Pretrained
from cbam_search.data.images import ImageData
from cbam_search.errors import StudyFailedError
from cbam_search.running.cluster import TrialResources
from cbam_search.running.executors.executor import (
    SECONDS_TO_CLOSE,
    Executor,
    ExecutorEvent,
    Reported,
    Waits,
    WorkerLost,
    WorkersDied,
)
from cbam_search.running.executors.ray_deaths import death_in_words
from cbam_search.running.executors.ray_slots import SlotWatch
from cbam_search.running.executors.raylet import raylet_here
from cbam_search.running.executors.remote_inbox import RemoteInbox
from cbam_search.running.executors.tune_hooks import NoMoreTasks, TuneScheduler, TuneSearcher, TuneStopper, TuneWorkers
from cbam_search.running.executors.tune_trainable import REPORT_KEY, TASK_KEY, CandidateTrainable
from cbam_search.running.executors.turns import Turns
from cbam_search.running.last_words import WorkerDeath
from cbam_search.running.scratch import scratch_folder
from cbam_search.running.worker import WorkerJob
from cbam_search.running.worker_report import REPORT, TASK, EvaluationTask, WorkerReport

WORKER_DEATHS_AT_MOST = 3
SECONDS_TO_ABANDON = 2.0
TUNE_SETTINGS = {
    # Tune's CSV, JSON and TensorBoard loggers cost seconds a trial; its snapshots are never read back.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
}

_NOTHING_KNOWN = WorkerDeath("Ray does not say why; the study's log may")

_Call = str | ExecutorEvent
"""What Tune's thread asks: a trial is wanted, for Ray's id; or what happened, and whether it goes on."""
_Answer = EvaluationTask | NoMoreTasks | None


class TuneExecutor(Executor):
    """One Ray Tune run. Ray runs already; `resources` says what one trial takes of it."""

    def __init__(
        self, data: ImageData, job: WorkerJob, inbox: RemoteInbox, resources: TrialResources, pretrained: Pretrained
    ) -> None:
        """data, pretrained: put into Ray's object store once, from which workers on any node take them."""
        super().__init__()
        self._inbox = inbox
        self._resources = resources
        self._trainable = tune.with_resources(
            tune.with_parameters(CandidateTrainable, data=data, job=job, pretrained=pretrained, inbox=inbox),
            {"cpu": resources.cpus, "gpu": resources.gpus},
        )
        self._tasks: dict[str, EvaluationTask] = {}
        """By Ray's id of the trial; those that have not ended."""
        self._again: list[EvaluationTask] = []
        """For other trials of Tune's than those that they began as."""
        self._deaths: Counter[str] = Counter()
        """Of workers, by evaluation."""
        self._told: dict[str, str] = {}
        self._why: dict[str, WorkerDeath] = {}
        """What Ray said of the last error, and what is known of it, by Ray's id of the trial."""
        self._slots = SlotWatch(resources)
        self._waiting: set[str] = set()
        """Evaluations that were told to wait for a slot."""
        self._task: EvaluationTask | None = None
        """For the trial that Tune wants."""
        self._wanted: str | None = None
        self._no_more = False
        self._interrupted = False
        self._asked = False
        self._folders = ExitStack()
        self._scratch = self._folders.enter_context(scratch_folder("tune"))
        """Where Tune may write; nothing in it is read again."""
        self._raylet = raylet_here()
        self._turns: Turns[_Call, _Answer] = Turns(self._run, name="ray-tune")
        self._turns.begin()

    def capacity(self) -> int:
        return 1 if self._wanted is not None and self._task is None and not self._interrupted else 0

    def start(self, task: EvaluationTask) -> None:
        assert self._wanted is not None
        self._running.add(task.evaluation)
        self._task = task

    def stop(self, evaluation: str) -> None:
        self._running.discard(evaluation)
        self._inbox.revoke(evaluation)

    def events(self, timeout_seconds: float) -> Sequence[ExecutorEvent]:
        self._let_tune_go_on()
        call = self._next_call(timeout_seconds)
        # Its workers die with it: first, as calls to the inbox would wait for it.
        self._check_ray_lives()
        if call is None and self._turns.ended:
            self._check_end()
        if call is None or isinstance(call, str):
            return self._waits()
        if isinstance(call, WorkerLost | WorkersDied):
            # It has no worker now that would hand over anything.
            self._inbox.revoke(call.evaluation)
        if isinstance(call, WorkersDied) or (isinstance(call, Reported) and call.report.ended):
            self._running.discard(call.evaluation)
        elif self._interrupted:
            # Its worker has handed over a checkpoint before it reported.
            self._running.discard(call.evaluation)
        return (call, *self._waits())

    def _waits(self) -> Sequence[Waits]:
        """Which evaluations have begun to wait for a slot in Ray, and which wait no longer."""
        if self._interrupted:
            return ()
        tasks = dict(self._tasks)
        asked = {tasks[ray_id].evaluation for ray_id in self._slots.waiting() if ray_id in tasks}
        waiting = asked & self._running - self._waiting
        why = self._slots.waits_for() if waiting else None
        over = {task.evaluation for ray_id, task in tasks.items() if not self._slots.is_wanted(ray_id)} & self._waiting
        self._waiting = (self._waiting | waiting) - over
        return [Waits(evaluation, why) for evaluation in waiting] + [Waits(evaluation, None) for evaluation in over]

    def no_more_tasks(self) -> None:
        self._no_more = True

    def interrupt(self) -> None:
        self._interrupted = True
        # What ended Ray may be what interrupts.
        self._check_ray_lives()
        # Tune itself waits for seconds, and kills workers whose epochs take longer. Trials that nobody has begun are no loss.
        self._running &= self._inbox.want_checkpoints()

    def close(self, *, at_most_seconds: float = SECONDS_TO_CLOSE) -> None:
        """Ends Tune's run. Its events count no more."""
        self._interrupted = True
        self._running.clear()
        until = time.monotonic() + (0.0 if self._ray_is_gone else at_most_seconds)
        while not self._turns.ended and time.monotonic() < until:
            self._let_tune_go_on()
            # What goes wrong in Tune from here on is nobody's loss.
            try:
                self._next_call(timeout_seconds=1.0)
            except Exception:
                break
        self._turns.abandon(SECONDS_TO_ABANDON)
        self._folders.close()

    @property
    def _ray_is_gone(self) -> bool:
        return self._raylet is not None and self._raylet.is_gone

    def _check_ray_lives(self) -> None:
        """Before Ray itself notices, which takes it longer, and then may end this process in the middle of a sentence."""
        if self._ray_is_gone:
            raise StudyFailedError(
                "Ray's process on this machine (the raylet) ended: killed, often for want of memory, or by `ray stop`"
            )

    def _check_end(self) -> None:
        """Tune's run is over: raise where it failed, or ended before it was to."""
        self._turns.next_call(0.0)
        if not self._interrupted and (self._running or not self._no_more):
            raise StudyFailedError("Ray Tune ended its run before the study was done; the study's log says more")
        self._running.clear()

    def _next_call(self, timeout_seconds: float) -> _Call | None:
        call = self._turns.next_call(timeout_seconds)
        self._asked = call is not None
        if isinstance(call, str):
            self._wanted = call
        return call

    def _let_tune_go_on(self) -> None:
        """Answer what it asked last, with what the driver has done since.

        Where nothing runs a "not yet" would have Tune wait for a second, deaf to everything: it stands still until there is a
        task, or none any more.
        """
        undecided = self._task is None and not (self._interrupted or self._no_more or self._running)
        if not self._asked or (self._wanted is not None and undecided):
            return
        self._asked = False
        if self._wanted is not None:
            task, self._task, self._wanted = self._task, None, None
            # As long as one runs its worker may die, and another trial goes on with it.
            none = NoMoreTasks() if self._interrupted or (self._no_more and not self._running) else None
            self._turns.answer(task or none)
        else:
            self._turns.answer(None)

    # What follows runs in Tune's thread.

    def wanted(self, ray_id: str) -> dict[str, Any] | NoMoreTasks | None:
        if self._interrupted:
            # With None, where nothing runs, Tune would ask again for ten minutes before it looks whether it is to end.
            return NoMoreTasks()
        again = [task for task in self._again if task.evaluation in self._running]
        task, self._again = (again[0], again[1:]) if again else (self._turns.ask(ray_id), [])
        if not isinstance(task, EvaluationTask):
            return task
        self._tasks[ray_id] = task
        self._slots.wants(ray_id)
        return {TASK_KEY: TASK.dump_json(task).decode()}

    def reported(self, ray_id: str, result: dict[str, Any]) -> bool:
        task = self._running_task(ray_id)
        if task is not None:
            self._turns.ask(Reported(task.evaluation, _report(result)))
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
            self._turns.ask(Reported(task.evaluation, report))
        elif worker_died:
            self._died_for_good(ray_id, task)
        else:
            self._running.discard(task.evaluation)

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

    def _lost(self, ray_id: str, task: EvaluationTask) -> None:
        self._deaths[task.evaluation] += 1
        self._turns.ask(WorkerLost(task.evaluation, self._why.get(ray_id, _NOTHING_KNOWN)))

    def _died_for_good(self, ray_id: str, task: EvaluationTask) -> None:
        """As Tune sees it: a warm worker that died before it could begin is two deaths to it, and it gives up at the second."""
        if self._deaths[task.evaluation] == 0:
            self._lost(ray_id, task)
        if self._deaths[task.evaluation] < WORKER_DEATHS_AT_MOST:
            self._again.append(task)
        else:
            self._turns.ask(WorkersDied(task.evaluation, self._why.get(ray_id, _NOTHING_KNOWN)))

    def interrupted(self) -> bool:
        return self._interrupted and not self._running

    def _running_task(self, ray_id: str) -> EvaluationTask | None:
        task = self._tasks.get(ray_id)
        return task if task is not None and task.evaluation in self._running else None

    def _run(self) -> None:
        with _environment(TUNE_SETTINGS):
            Tuner(
                self._trainable,
                tune_config=TuneConfig(
                    search_alg=TuneSearcher(self),
                    scheduler=TuneScheduler(self),
                    num_samples=-1,
                    max_concurrent_trials=self._resources.max_concurrent,
                    reuse_actors=True,
                ),
                run_config=RunConfig(
                    name="trials",
                    storage_path=str(self._scratch),
                    verbose=0,
                    stop=TuneStopper(self),
                    callbacks=[TuneWorkers(self)],
                    checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
                    failure_config=FailureConfig(max_failures=WORKER_DEATHS_AT_MOST),
                ),
            ).fit()


def _report(result: dict[str, Any]) -> WorkerReport:
    return REPORT.validate_json(result[REPORT_KEY]) if REPORT_KEY in result else WorkerReport()


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
