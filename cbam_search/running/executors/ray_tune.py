"""Evaluations under Ray Tune: warm actors on the nodes of a Ray cluster, one a trial.

Tune has a loop of its own, which asks for trials and tells of results. It runs in a thread here (its side is `tune_trials`),
and takes turns with the driver's thread, whose side this is: from each question on Tune stands still until the driver asks for
`events` again. In between both may work. What they share then are a flag and a set that one of them changes in a single step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

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
from cbam_search.running.executors.ray_slots import SlotWatch
from cbam_search.running.executors.raylet import raylet_here
from cbam_search.running.executors.remote_inbox import RemoteInbox
from cbam_search.running.executors.tune_hooks import NoMoreTasks, TuneScheduler, TuneSearcher, TuneStopper, TuneWorkers
from cbam_search.running.executors.tune_trainable import CandidateTrainable
from cbam_search.running.executors.tune_trials import WORKER_DEATHS_AT_MOST, Answer, Call, TuneTrials
from cbam_search.running.executors.turns import Turns
from cbam_search.running.scratch import scratch_folder
from cbam_search.running.worker import WorkerJob
from cbam_search.running.worker_report import EvaluationTask
from cbam_search.variables import set_meanwhile

SECONDS_TO_ABANDON = 2.0
TUNE_SETTINGS = {
    # Tune's CSV, JSON and TensorBoard loggers cost seconds a trial; its snapshots are never read back.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
}


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
        self._task: EvaluationTask | None = None
        """For the trial that Tune wants."""
        self._wanted: str | None = None
        self._no_more = False
        self._asked = False
        self._folders = ExitStack()
        self._scratch = self._folders.enter_context(scratch_folder("tune"))
        """Where Tune may write; nothing in it is read again."""
        self._raylet = raylet_here()
        self._turns: Turns[Call, Answer] = Turns(self._run, name="ray-tune")
        self._slots = SlotWatch(resources)
        self._waiting: set[str] = set()
        """Evaluations that were told to wait for a slot."""
        self._trials = TuneTrials(self._running, self._turns.ask, self._slots)
        self._turns.begin()

    def capacity(self) -> int:
        return 1 if self._wanted is not None and self._task is None and not self._trials.is_interrupted else 0

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
        elif self._trials.is_interrupted:
            # Its worker has handed over a checkpoint before it reported.
            self._running.discard(call.evaluation)
        return (call, *self._waits())

    def _waits(self) -> Sequence[Waits]:
        """Which evaluations have begun to wait for a slot in Ray, and which wait no longer."""
        if self._trials.is_interrupted:
            return ()
        evaluations = self._trials.evaluations()
        asked = {evaluations[ray_id] for ray_id in self._slots.waiting() if ray_id in evaluations}
        waiting = asked & self._running - self._waiting
        why = self._slots.waits_for() if waiting else None
        served = {evaluation for ray_id, evaluation in evaluations.items() if not self._slots.is_wanted(ray_id)}
        over = served & self._waiting
        self._waiting = (self._waiting | waiting) - over
        return [Waits(evaluation, why) for evaluation in waiting] + [Waits(evaluation, None) for evaluation in over]

    def no_more_tasks(self) -> None:
        self._no_more = True

    def interrupt(self) -> None:
        self._trials.is_interrupted = True
        # What ended Ray may be what interrupts.
        self._check_ray_lives()
        # Tune itself waits for seconds, and kills workers whose epochs take longer. Trials that nobody has begun are no loss.
        self._running &= self._inbox.want_checkpoints()

    def close(self, *, at_most_seconds: float = SECONDS_TO_CLOSE) -> None:
        """Ends Tune's run. Its events count no more."""
        self._trials.is_interrupted = True
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
        if not self._trials.is_interrupted and (self._running or not self._no_more):
            raise StudyFailedError("Ray Tune ended its run before the study was done; the study's log says more")
        self._running.clear()

    def _next_call(self, timeout_seconds: float) -> Call | None:
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
        undecided = self._task is None and not (self._trials.is_interrupted or self._no_more or self._running)
        if not self._asked or (self._wanted is not None and undecided):
            return
        self._asked = False
        if self._wanted is not None:
            task, self._task, self._wanted = self._task, None, None
            # As long as one runs its worker may die, and another trial goes on with it.
            none = NoMoreTasks() if self._trials.is_interrupted or (self._no_more and not self._running) else None
            self._turns.answer(task or none)
        else:
            self._turns.answer(None)

    def _run(self) -> None:
        with set_meanwhile(TUNE_SETTINGS):
            Tuner(
                self._trainable,
                tune_config=TuneConfig(
                    search_alg=TuneSearcher(self._trials),
                    scheduler=TuneScheduler(self._trials),
                    num_samples=-1,
                    max_concurrent_trials=self._resources.max_concurrent,
                    reuse_actors=True,
                ),
                run_config=RunConfig(
                    name="trials",
                    storage_path=str(self._scratch),
                    verbose=0,
                    stop=TuneStopper(self._trials),
                    callbacks=[TuneWorkers(self._trials)],
                    checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
                    failure_config=FailureConfig(max_failures=WORKER_DEATHS_AT_MOST),
                ),
            ).fit()
