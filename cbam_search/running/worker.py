"""The worker: does all that one evaluation needs, in this process, one step at a time, whoever runs it.

What an evaluation needs: to learn whether its end is known already, its latency where the study has one, its training epoch by
epoch, an end of a known kind, and the files that are kept of it. Expected ends (diverged, out of memory, an error in the
network) are reported, never raised: a worker is warm, and the next candidate takes its place. Ray is not imported here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from traceback import extract_tb, format_exception

import torch
from torch import nn

from cbam_search.backbones.pretrained import Pretrained, build_start
from cbam_search.cost.device import physical_id
from cbam_search.cost.device_lock import DeviceLock, Place
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.errors import (
    CheckpointError,
    ClaimLostError,
    DamagedFileError,
    DeviceMemoryError,
    DivergedError,
    RecordsError,
    ResourceError,
    TrainingError,
)
from cbam_search.metrics import TEST_ACCURACY, Measured, trained_values
from cbam_search.own_code import NO_CODE, CodePermission
from cbam_search.records.folder import EvaluationFile
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.delivery import Delivery, InboxCalls
from cbam_search.running.latency_meter import DeviceTakenError, LatencyJob, LatencyMeter, wait_for
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.safe_text import printable, without_secrets
from cbam_search.training.batches import DataOnDevice
from cbam_search.training.checkpoint import predictions_of, weights_of
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import deterministic
from cbam_search.training.epoch import Epoch
from cbam_search.training.loop import Training, evaluate, train
from cbam_search.training.numerics import NUMERICS_VERSION

CHECKPOINT_EVERY_SECONDS = 30.0
MESSAGE_CHARACTERS = 1000
"""Of an error's message in a reason; the whole of it is in the traceback."""
TIME_FOR_CHECKPOINTS = 0.05
"""The share of its time that a worker may spend on handing over checkpoints: a large network does it less often."""


@dataclass(frozen=True)
class WorkerJob:
    """What all evaluations of a study share.

    recipe: how they train.
    threads: torch's.
    on_gpu: whether workers were given a GPU.
    keep_weights, keep_predictions: whether complete evaluations hand these over.
    code: whether the user's own network may be built, and where it is imported from.
    latency: where it is an objective or a constraint.
    """

    recipe: TrainingConfig
    threads: int
    on_gpu: bool
    keep_weights: bool = False
    keep_predictions: bool = False
    code: CodePermission = NO_CODE
    latency: LatencyJob | None = None


class Worker:
    """Evaluates one task after another; the data stay on its device.

    Call `begin` with a task, then `step` until its report has ended; `begin` again, at any time, drops what was under way.
    """

    def __init__(
        self,
        job: WorkerJob,
        data: ImageData,
        inbox: InboxCalls,
        *,
        pretrained: Pretrained | None = None,
        test: ImageSplit | None = None,
        gpu: int = 0,
        own_process: bool = False,
    ) -> None:
        """inbox: the driver's. pretrained: weights to start from. test: a split that complete trainings are measured on too,
        for tables alone: a search never sees it. gpu: which one, of those that this process sees.
        own_process: whether Ctrl-C never comes here, so that a KeyboardInterrupt is the network's own and ends its evaluation.
        """
        torch.set_num_threads(job.threads)
        # cuBLAS reads this once, when CUDA starts; without it matrix products differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._own_process = own_process
        self._job = job
        self._inbox = inbox
        self._pretrained = pretrained or {}
        self._device = torch.device("cuda", gpu) if job.on_gpu else torch.device("cpu")
        self._data = DataOnDevice(data, self._device)
        self._test = None if test is None else DataOnDevice(replace(data, validation=test), self._device)
        self._meter = job.latency and LatencyMeter(
            job.latency,
            inbox,
            channels=data.channels,
            image_size=data.image_size,
            threads=job.threads,
            on_gpu=job.on_gpu,
            code=job.code,
        )
        measured_on = [job.latency.device.torch_device()] if job.latency else []
        self._locks = [DeviceLock(name) for name in sorted({physical_id(device) for device in (self._device, *measured_on)})]
        self._places: list[Place] = []
        """In line for the devices of the next epoch."""
        self._run: _Run | None = None

    def begin(self, task: EvaluationTask) -> None:
        """Take up an evaluation; nothing is computed before the first step."""
        self.drop()
        self._run = _Run(task)

    def drop(self) -> None:
        """Let go of what was under way, and of its place in line for a device."""
        self._leave_line()
        self._run = None

    def step(self) -> WorkerReport:
        """Train one epoch more, or find that there is none to train, or wait a while for the device; the report says which."""
        run = self._run
        assert run is not None, "begin comes before step"
        try:
            report = self._step(run)
        except RecordsError as error:
            report = WorkerReport(problem=str(error))
        except ClaimLostError as error:
            report = WorkerReport(outcome=Outcome(state=TrialState.FAILED, reason=str(error)))
        if report.ended:
            self.drop()
        return report

    def save(self) -> None:
        """Hand over what was trained since the last checkpoint, before the worker ends."""
        if self._run is not None:
            self._save(self._run)

    def _step(self, run: _Run) -> WorkerReport:
        """Raises RecordsError where the driver cannot keep what is handed over, and ClaimLostError."""
        if run.delivery is None:
            run.delivery = Delivery(self._inbox, run.task.evaluation)
            if (known := run.delivery.known.outcome) is not None:
                return WorkerReport(outcome=known)
        try:
            if run.training is None and (too_slow := self._measure(run, run.delivery)):
                return self._finish(run, TrialState.INFEASIBLE, too_slow)
            self._save_if_due(run)
            with self._device_shared():
                run.last = next(run.training or self._start(run, run.delivery))
        except (RecordsError, ClaimLostError):
            raise
        except DeviceTakenError as taken:
            if run.delivery.checkpoint_wanted():
                self._save(run)
            return WorkerReport(measured=run.measured, waits=str(taken))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and not self._own_process:
                raise
            return self._finish(run, *_known_end(error, self._device), traceback=_traceback_worth_keeping(error))
        run.delivery.epoch(run.last)
        if run.last.epoch == self._job.recipe.epochs:
            return replace(self._finish(run, TrialState.COMPLETE), epoch=run.last)
        if run.delivery.checkpoint_wanted():
            self._save(run)
        return WorkerReport(run.last, run.measured)

    def _measure(self, run: _Run, delivery: Delivery) -> str | None:
        """The candidate's latency, before anything is trained; returns why it is not to be trained, if so.

        What was measured before goes first: a training that goes on elsewhere keeps its figure.
        """
        if not self._meter:
            return None
        if delivery.known.measured is None:
            run.measured = self._meter.metrics(run.task.architecture)
            delivery.measured(run.measured)
        else:
            run.measured = delivery.known.measured
        return self._meter.beyond(run.measured)

    @contextmanager
    def _device_shared(self) -> Iterator[None]:
        """An epoch makes way for measurements, this study's or another's: see `DeviceLock`."""
        self._places = self._places or [lock.for_training() for lock in self._locks]
        for place in self._places:
            wait_for(place)
        try:
            yield
        finally:
            self._leave_line()

    def _leave_line(self) -> None:
        for place in self._places:
            place.let_go()
        self._places = []
        if self._meter:
            self._meter.give_up()

    def _start(self, run: _Run, delivery: Delivery) -> Training:
        """From the driver's last checkpoint, or the first epoch."""
        try:
            training = self._training_from(run, delivery.checkpoint())
        except DamagedFileError:
            delivery.checkpoint_is_damaged()
            training = self._training_from(run, None)
        run.training, run.saved_epoch = training, training.epoch
        run.saved_at_seconds = time.monotonic()
        return training

    def _training_from(self, run: _Run, checkpoint: bytes | None) -> Training:
        seed = run.task.seed
        with deterministic(seed, self._device):
            network = build_start(run.task.architecture, self._pretrained, code=self._job.code)
        run.network = network
        return train(network, self._data, self._job.recipe, seed=seed, device=self._device, checkpoint=checkpoint)

    def _save_if_due(self, run: _Run) -> None:
        """After an epoch that the driver has heard of, and before the next."""
        wait_seconds = max(CHECKPOINT_EVERY_SECONDS, run.saving_seconds / TIME_FOR_CHECKPOINTS)
        if time.monotonic() - run.saved_at_seconds >= wait_seconds:
            self._save(run)

    def _save(self, run: _Run) -> None:
        training, delivery = run.training, run.delivery
        if training is None or delivery is None or training.epoch == run.saved_epoch:
            return
        begun = time.monotonic()
        delivery.save_checkpoint(training.checkpoint())
        run.saved_epoch, run.saved_at_seconds = training.epoch, time.monotonic()
        run.saving_seconds = run.saved_at_seconds - begun

    def _finish(self, run: _Run, state: TrialState, reason: str | None = None, *, traceback: str | None = None) -> WorkerReport:
        """Hand over the end, then report it."""
        assert run.delivery is not None
        training = run.training
        resumed_epoch = training.resumed_epoch if training else 0
        outcome = Outcome(
            state=state,
            metrics=(self._last_metrics(run) if state is TrialState.COMPLETE else {}) | run.measured,
            epochs=run.last.epoch if run.last else resumed_epoch,
            seconds=training.seconds if training else 0.0,
            reason=reason,
            numerics_version=NUMERICS_VERSION,
        )
        run.delivery.finish(outcome, self._kept(run) if state is TrialState.COMPLETE else {}, traceback)
        return WorkerReport(measured=run.measured, outcome=outcome)

    def _last_metrics(self, run: _Run) -> dict[str, Measured]:
        """Of the last epoch, with errors where they are known."""
        assert run.last is not None
        assert run.training is not None
        assert run.network is not None
        metrics = {name: Measured(value=value) for name, value in run.last.metrics.items()} | run.training.measured
        if self._test is not None:
            confusion = evaluate(run.network, self._test, self._job.recipe)[1]
            metrics[TEST_ACCURACY] = trained_values(confusion)["accuracy"]
        return metrics

    def _kept(self, run: _Run) -> dict[EvaluationFile, bytes]:
        """Weights and predictions, where they are asked for."""
        assert run.network is not None
        assert run.training is not None
        kept: dict[EvaluationFile, bytes] = {}
        if self._job.keep_weights:
            kept["weights"] = weights_of(run.network)
        if self._job.keep_predictions:
            kept["predictions"] = predictions_of(run.training.predicted)
        return kept


def _known_end(error: BaseException, device: torch.device) -> tuple[TrialState, str]:
    """How a training ended that raised `error`, and why."""
    match error:
        case DivergedError():
            return TrialState.DIVERGED, str(error)
        case DeviceMemoryError():
            return TrialState.INFEASIBLE, f"out of memory on {device.type}: {error}"
        case ResourceError() | CheckpointError():
            return TrialState.FAILED, str(error)
    last_line = extract_tb(error.__traceback__)[-1]
    where = f"{Path(last_line.filename).name}:{last_line.lineno}"
    message = _message(error)
    return TrialState.FAILED, f"{type(error).__name__} at {where}{f': {message}' if message else ''}"


def _message(error: BaseException) -> str:
    """An error of the user's may have none, or fail to make one."""
    try:
        return without_secrets(printable(str(error), MESSAGE_CHARACTERS))
    except Exception:
        return ""


def _traceback_worth_keeping(error: BaseException) -> str | None:
    """Of an error that nobody foresaw."""
    expected = isinstance(error, (TrainingError, ResourceError))
    return None if expected else without_secrets("".join(format_exception(error)))


@dataclass
class _Run:
    """The evaluation that a worker has at the moment. saving_seconds: what handing over the last checkpoint took."""

    task: EvaluationTask
    delivery: Delivery | None = None
    training: Training | None = None
    network: nn.Module | None = None
    last: Epoch | None = None
    measured: dict[str, Measured] = field(default_factory=dict)
    saved_epoch: int = 0
    saved_at_seconds: float = 0.0
    saving_seconds: float = 0.0
