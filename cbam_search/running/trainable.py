"""The worker: a warm Ray actor that trains one candidate after another, one step an epoch.

Expected ends (diverged, out of memory, an error in the network) are results, not exceptions: a raised error would cost the warm
actor. MLflow is never imported here, and Optuna neither.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune

from cbam_search.architecture import Architecture
from cbam_search.backbones.pretrained import Pretrained, build_start
from cbam_search.cost.device import physical_id
from cbam_search.cost.device_lock import DeviceLock
from cbam_search.data.images import ImageData
from cbam_search.errors import DeviceMemoryError, DivergedError, ResourceError
from cbam_search.records.folder import StudyFolder
from cbam_search.records.results import append_epoch, read_result, write_result
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.latency import LATENCY_METRICS, LatencyJob, LatencyMeter
from cbam_search.training.batches import DataOnDevice
from cbam_search.training.checkpoint import save_weights
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import deterministic
from cbam_search.training.loop import EpochResult, Training, train

NOT_METRICS = ("epoch", "seconds")


@dataclass(frozen=True)
class TrainingJob:
    """What all trials of a study share.

    seed: of initial weights, batch order and augmentation; the same for every trial. on_gpu: whether trials were given a GPU.
    code_folder: where the user's own network is imported from, after the Python path; None: no such code may run.
    latency: where it is an objective or a constraint.
    """

    recipe: TrainingConfig
    seed: int
    study: Path
    keep_weights: bool
    threads: int
    on_gpu: bool
    code_folder: Path | None = None
    latency: LatencyJob | None = None


class CandidateTrainable(tune.Trainable):
    """Trains `config["architecture"]` as trial `config["trial"]`; each step returns one epoch's metrics, flat.

    The last result has `done` and `outcome`, an `Outcome` as JSON, which is on disk by then.
    """

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], *, data: ImageData, job: TrainingJob, pretrained: Pretrained | None = None
    ) -> None:
        torch.set_num_threads(job.threads)
        # cuBLAS reads this once, when CUDA starts; without it matrix products differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._job = job
        self._pretrained = pretrained or {}
        self._folder = StudyFolder(job.study)
        self._device = torch.device("cuda" if job.on_gpu else "cpu")
        self._data = DataOnDevice(data, self._device)
        self._meter = job.latency and LatencyMeter(
            job.latency,
            self._folder,
            channels=data.channels,
            image_size=data.image_size,
            threads=job.threads,
            on_gpu=job.on_gpu,
            code_folder=job.code_folder,
        )
        measured_on = [job.latency.device.torch_device()] if job.latency else []
        self._locks = [DeviceLock(name) for name in sorted({physical_id(device) for device in (self._device, *measured_on)})]
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._trial = int(config["trial"])
        self._architecture = Architecture.model_validate_json(config["architecture"])
        self._training: Training | None = None
        self._network: torch.nn.Module | None = None
        self._last: EpochResult | None = None
        self._latency: dict[str, float] = {}
        self._seconds = 0.0

    def step(self) -> dict[str, Any]:
        try:
            if self._training is None:
                left_behind = read_result(self._folder.result(self._trial))
                if left_behind is not None:
                    return self._done(left_behind)
                if beyond := self._measure():
                    return self._ended(TrialState.INFEASIBLE, beyond)
            with self._device_shared():
                last = self._last = next(self._training or self._start())
            epoch = asdict(last) | self._latency
            append_epoch(self._folder.epochs(self._trial), epoch)
        except DivergedError as error:
            return self._ended(TrialState.DIVERGED, str(error))
        except DeviceMemoryError as error:
            return self._ended(TrialState.INFEASIBLE, f"out of memory on {self._device}: {error}")
        except ResourceError as error:
            return self._ended(TrialState.FAILED, str(error))
        except Exception as error:
            last_line = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last_line.filename).name}:{last_line.lineno}"
            return self._ended(TrialState.FAILED, f"{type(error).__name__} at {where}: {error}")
        self._seconds += last.seconds
        if last.epoch == self._job.recipe.epochs:
            return epoch | self._ended(TrialState.COMPLETE, None)
        return epoch

    def _measure(self) -> str | None:
        """The candidate's latency, before anything is trained; returns why it is not to be trained, if so."""
        if not self._meter:
            return None
        self._latency = self._meter.metrics(self._trial, self._architecture)
        return self._meter.beyond(self._latency)

    @contextmanager
    def _device_shared(self) -> Iterator[None]:
        """An epoch makes way for measurements, this study's or another's: see `DeviceLock`."""
        with ExitStack() as held:
            for lock in self._locks:
                held.enter_context(lock.shared())
            yield

    def _start(self) -> Training:
        self._folder.trial(self._trial).mkdir(parents=True, exist_ok=True)
        with deterministic(self._job.seed, self._device):
            folder = self._job.code_folder
            self._network = build_start(self._architecture, self._pretrained, allow_code=folder is not None, code_folder=folder)
        self._training = train(
            self._network,
            self._data,
            self._job.recipe,
            seed=self._job.seed,
            device=self._device,
            checkpoint=self._folder.checkpoint(self._trial),
        )
        return self._training

    def _ended(self, state: TrialState, reason: str | None) -> dict[str, Any]:
        """Leave weights and result on disk, then report."""
        outcome = Outcome(
            state=state,
            metrics=(metrics_of(asdict(self._last)) if self._last and state is TrialState.COMPLETE else {}) | self._latency,
            epochs=self._last.epoch if self._last else 0,
            seconds=self._seconds,
            reason=reason,
        )
        try:
            if state is TrialState.COMPLETE and self._job.keep_weights:
                assert self._network is not None
                save_weights(self._network, self._folder.weights(self._trial))
            write_result(self._folder.result(self._trial), outcome)
        except OSError as error:
            # Not a word of the trial in the reason: the same trouble in the next one must read the same.
            outcome = Outcome(state=TrialState.FAILED, reason=f"the study's folder cannot be written: {error.strerror}")
        return self._done(outcome)

    def _done(self, outcome: Outcome) -> dict[str, Any]:
        self._training = self._network = None
        return {"done": True, "outcome": outcome.model_dump_json()}

    def cleanup(self) -> None:
        """Stopped in the middle: what was trained so far is kept for a resume."""
        if self._training is not None and self._training.epoch > self._training.resumed_epoch:
            self._training.save()


def metrics_of(epoch: dict[str, Any]) -> dict[str, float]:
    """The metrics in a reported epoch: everything that EpochResult has but the epoch's number and its time, and the latency."""
    names = [name for name in EpochResult.__dataclass_fields__ if name not in NOT_METRICS]
    return {name: float(epoch[name]) for name in (*names, *(name for name in LATENCY_METRICS if name in epoch))}
