"""The worker: does all that one evaluation needs, in this process, one step at a time, whoever runs it.

What an evaluation needs: to learn whether its end is known already, its latency where the study has one, its training epoch by
epoch, an end of a known kind, and the files that are kept of it. Expected ends (diverged, out of memory, an error in the
network) are reported, never raised: a worker is warm, and the next candidate takes its place. Ray is not imported here.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from cbam_search.backbones.pretrained import Pretrained, build_start
from cbam_search.cost.device import physical_id
from cbam_search.cost.device_lock import DeviceLock
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.errors import (
    ClaimLostError,
    DamagedFileError,
    DeviceMemoryError,
    DivergedError,
    HandoverError,
    LeaseLostError,
    ResourceError,
)
from cbam_search.metrics import TEST_ACCURACY, Measured, trained_values
from cbam_search.own_code import NO_CODE, CodePermission
from cbam_search.records.folder import EvaluationFile
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.delivery import Delivery, InboxCalls
from cbam_search.running.latency_meter import LatencyJob, LatencyMeter
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.training.batches import DataOnDevice
from cbam_search.training.checkpoint import predictions_of, weights_of
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import deterministic
from cbam_search.training.epoch import Epoch
from cbam_search.training.loop import Training, evaluate, train
from cbam_search.training.numerics import NUMERICS_VERSION

CHECKPOINT_EVERY_SECONDS = 30.0
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
    ) -> None:
        """inbox: the driver's. pretrained: weights to start from. test: a split that complete trainings are measured on too,
        for tables alone: a search never sees it. gpu: which one, of those that this process sees.
        """
        torch.set_num_threads(job.threads)
        # cuBLAS reads this once, when CUDA starts; without it matrix products differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
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
        self._under_way: _UnderWay | None = None

    def begin(self, task: EvaluationTask) -> None:
        """Take up an evaluation; nothing is computed before the first step."""
        self._under_way = _UnderWay(task)

    def step(self) -> WorkerReport:
        """Train one epoch more, or find that there is none to train; the report says which."""
        now = self._under_way
        assert now is not None, "begin comes before step"
        try:
            return self._report(now)
        except (HandoverError, LeaseLostError) as error:
            self._under_way = None
            return WorkerReport(problem=str(error))
        except ClaimLostError as error:
            self._under_way = None
            return WorkerReport(outcome=Outcome(state=TrialState.FAILED, reason=str(error)))

    def save(self) -> None:
        """Hand over what was trained since the last checkpoint, before the worker ends."""
        if self._under_way is not None:
            self._save(self._under_way)

    def _report(self, now: _UnderWay) -> WorkerReport:
        try:
            if now.training is None:
                now.delivery = Delivery(self._inbox, now.task.evaluation)
                if (known := now.delivery.known.outcome) is not None:
                    self._under_way = None
                    return WorkerReport(outcome=known)
                if beyond := self._measure(now, now.delivery):
                    return self._ended(now, TrialState.INFEASIBLE, beyond)
            self._save_if_due(now)
            with self._device_shared():
                now.last = next(now.training or self._start(now))
            assert now.delivery is not None
            now.delivery.epoch(now.last)
        except (HandoverError, LeaseLostError, ClaimLostError):
            raise
        except DivergedError as error:
            return self._ended(now, TrialState.DIVERGED, str(error))
        except DeviceMemoryError as error:
            return self._ended(now, TrialState.INFEASIBLE, f"out of memory on {self._device.type}: {error}")
        except ResourceError as error:
            return self._ended(now, TrialState.FAILED, str(error))
        except Exception as error:
            last_line = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last_line.filename).name}:{last_line.lineno}"
            return self._ended(now, TrialState.FAILED, f"{type(error).__name__} at {where}: {error}", traceback.format_exc())
        now.seconds += now.last.seconds
        if now.last.epoch == self._job.recipe.epochs:
            return replace(self._ended(now, TrialState.COMPLETE, None), epoch=now.last)
        if now.delivery.checkpoint_wanted():
            self._save(now)
        return WorkerReport(now.last, now.measured)

    def _measure(self, now: _UnderWay, delivery: Delivery) -> str | None:
        """The candidate's latency, before anything is trained; returns why it is not to be trained, if so.

        What was measured before goes first: a training that goes on elsewhere keeps its figure.
        """
        if not self._meter:
            return None
        if delivery.known.measured is None:
            now.measured = self._meter.metrics(now.task.architecture)
            delivery.measured(now.measured)
        else:
            now.measured = delivery.known.measured
        return self._meter.beyond(now.measured)

    @contextmanager
    def _device_shared(self) -> Iterator[None]:
        """An epoch makes way for measurements, this study's or another's: see `DeviceLock`."""
        with ExitStack() as held:
            for lock in self._locks:
                held.enter_context(lock.shared())
            yield

    def _start(self, now: _UnderWay) -> Training:
        """From the driver's last checkpoint, or the first epoch."""
        assert now.delivery is not None
        checkpoint = now.delivery.checkpoint()
        try:
            training = self._trained_from(now, checkpoint)
        except DamagedFileError:
            now.delivery.checkpoint_is_damaged()
            training = self._trained_from(now, None)
        now.training, now.saved_epoch = training, training.epoch
        now.saved_at_seconds = time.monotonic()
        return training

    def _trained_from(self, now: _UnderWay, checkpoint: bytes | None) -> Training:
        seed = now.task.seed
        with deterministic(seed, self._device):
            network = build_start(now.task.architecture, self._pretrained, code=self._job.code)
        now.network = network
        return train(network, self._data, self._job.recipe, seed=seed, device=self._device, checkpoint=checkpoint)

    def _save_if_due(self, now: _UnderWay) -> None:
        """After an epoch that the driver has heard of, and before the next."""
        wait_seconds = max(CHECKPOINT_EVERY_SECONDS, now.saving_seconds / TIME_FOR_CHECKPOINTS)
        if time.monotonic() - now.saved_at_seconds >= wait_seconds:
            self._save(now)

    def _save(self, now: _UnderWay) -> None:
        training, delivery = now.training, now.delivery
        if training is None or delivery is None or training.epoch == now.saved_epoch:
            return
        begun = time.monotonic()
        delivery.save_checkpoint(training.checkpoint())
        now.saved_epoch, now.saved_at_seconds = training.epoch, time.monotonic()
        now.saving_seconds = now.saved_at_seconds - begun

    def _ended(self, now: _UnderWay, state: TrialState, reason: str | None, error: str | None = None) -> WorkerReport:
        """Hand over the end, then report it."""
        assert now.delivery is not None
        outcome = Outcome(
            state=state,
            metrics=(self._last_metrics(now) if state is TrialState.COMPLETE else {}) | now.measured,
            epochs=now.last.epoch if now.last else 0,
            seconds=now.seconds,
            reason=reason,
            numerics_version=NUMERICS_VERSION,
        )
        now.delivery.finish(outcome, self._kept(now) if state is TrialState.COMPLETE else {}, error)
        self._under_way = None
        return WorkerReport(measured=now.measured, outcome=outcome)

    def _last_metrics(self, now: _UnderWay) -> dict[str, Measured]:
        """Of the last epoch, with errors where they are known."""
        assert now.last is not None
        assert now.training is not None
        assert now.network is not None
        metrics = {name: Measured(value=value) for name, value in now.last.metrics.items()} | now.training.measured
        if self._test is not None:
            confusion = evaluate(now.network, self._test, self._job.recipe)[1]
            metrics[TEST_ACCURACY] = trained_values(confusion)["accuracy"]
        return metrics

    def _kept(self, now: _UnderWay) -> dict[EvaluationFile, bytes]:
        """Weights and predictions, where they are asked for."""
        assert now.network is not None
        assert now.training is not None
        kept: dict[EvaluationFile, bytes] = {}
        if self._job.keep_weights:
            kept["weights"] = weights_of(now.network)
        if self._job.keep_predictions:
            kept["predictions"] = predictions_of(now.training.predicted)
        return kept


@dataclass
class _UnderWay:
    """The evaluation that a worker has at the moment. saving_seconds: what handing over the last checkpoint took."""

    task: EvaluationTask
    delivery: Delivery | None = None
    training: Training | None = None
    network: nn.Module | None = None
    last: Epoch | None = None
    measured: dict[str, Measured] = field(default_factory=dict)
    seconds: float = 0.0
    saved_epoch: int = 0
    saved_at_seconds: float = 0.0
    saving_seconds: float = 0.0
