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
from cbam_search.metrics import Measured
from cbam_search.own_code import NO_CODE, CodePermission
from cbam_search.records.folder import StudyFolder
from cbam_search.records.results import append_epoch, take_result, write_result
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.latency import LatencyJob, LatencyMeter
from cbam_search.training.batches import DataOnDevice
from cbam_search.training.checkpoint import save_predictions, save_weights
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import deterministic
from cbam_search.training.epoch import Epoch
from cbam_search.training.loop import Training, train
from cbam_search.training.numerics import NUMERICS_VERSION


@dataclass(frozen=True)
class TrainingJob:
    """What all trials of a study share.

    seed: of initial weights, batch order and augmentation; the same for every trial. keep_weights, keep_predictions: of
    complete trainings, in the study's folder. on_gpu: whether trials were given a GPU. code: whether the user's own network
    may be imported. latency: where it is an objective or a constraint.
    """

    recipe: TrainingConfig
    seed: int
    study: Path
    keep_weights: bool
    threads: int
    on_gpu: bool
    code: CodePermission = NO_CODE
    latency: LatencyJob | None = None
    keep_predictions: bool = False


class CandidateTrainable(tune.Trainable):
    """Trains `config["architecture"]`, in the folder of `config["evaluation"]`; each step returns one epoch.

    A result has the fields of `Epoch`, and `measured`, which maps names to fields of `Measured`. The last one has `done` and
    `outcome`, an `Outcome` as JSON, which is on disk by then.
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
            code=job.code,
        )
        measured_on = [job.latency.device.torch_device()] if job.latency else []
        self._locks = [DeviceLock(name) for name in sorted({physical_id(device) for device in (self._device, *measured_on)})]
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._evaluation = str(config["evaluation"])
        self._architecture = Architecture.model_validate_json(config["architecture"])
        self._training: Training | None = None
        self._network: torch.nn.Module | None = None
        self._last: Epoch | None = None
        self._measured: dict[str, Measured] = {}
        self._seconds = 0.0

    def step(self) -> dict[str, Any]:
        try:
            if self._training is None:
                left_behind = take_result(self._folder.result(self._evaluation))
                if left_behind is not None:
                    return self._done(left_behind)
                if beyond := self._measure():
                    return self._ended(TrialState.INFEASIBLE, beyond)
            with self._device_shared():
                last = self._last = next(self._training or self._start())
            append_epoch(self._folder.epochs(self._evaluation), last)
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
            return self._reported(last) | self._ended(TrialState.COMPLETE, None)
        return self._reported(last)

    def _reported(self, epoch: Epoch) -> dict[str, Any]:
        return {**asdict(epoch), "measured": {name: entry.model_dump() for name, entry in self._measured.items()}}

    def _measure(self) -> str | None:
        """The candidate's latency, before anything is trained; returns why it is not to be trained, if so."""
        if not self._meter:
            return None
        self._measured = self._meter.metrics(self._evaluation, self._architecture)
        return self._meter.beyond(self._measured)

    @contextmanager
    def _device_shared(self) -> Iterator[None]:
        """An epoch makes way for measurements, this study's or another's: see `DeviceLock`."""
        with ExitStack() as held:
            for lock in self._locks:
                held.enter_context(lock.shared())
            yield

    def _start(self) -> Training:
        self._folder.evaluation(self._evaluation).mkdir(parents=True, exist_ok=True)
        with deterministic(self._job.seed, self._device):
            self._network = build_start(self._architecture, self._pretrained, code=self._job.code)
        self._training = train(
            self._network,
            self._data,
            self._job.recipe,
            seed=self._job.seed,
            device=self._device,
            checkpoint=self._folder.checkpoint(self._evaluation),
        )
        return self._training

    def _ended(self, state: TrialState, reason: str | None) -> dict[str, Any]:
        """Leave weights and result on disk, then report."""
        outcome = Outcome(
            state=state,
            metrics=(self._last_metrics() if state is TrialState.COMPLETE else {}) | self._measured,
            epochs=self._last.epoch if self._last else 0,
            seconds=self._seconds,
            reason=reason,
            numerics_version=NUMERICS_VERSION,
        )
        try:
            if state is TrialState.COMPLETE:
                self._keep_artifacts()
            write_result(self._folder.result(self._evaluation), outcome)
        except OSError as error:
            # Not a word of the trial in the reason: the same trouble in the next one must read the same.
            outcome = Outcome(state=TrialState.FAILED, reason=f"the study's folder cannot be written: {error.strerror}")
        return self._done(outcome)

    def _last_metrics(self) -> dict[str, Measured]:
        """Of the last epoch, with errors where they are known."""
        assert self._last is not None
        assert self._training is not None
        plain = {name: Measured(value=value) for name, value in self._last.metrics.items()}
        return plain | self._training.measured

    def _keep_artifacts(self) -> None:
        """Weights and predictions, where they are asked for."""
        assert self._network is not None
        assert self._training is not None
        if self._job.keep_weights:
            save_weights(self._network, self._folder.weights(self._evaluation))
        if self._job.keep_predictions:
            save_predictions(self._training.predicted, self._folder.predictions(self._evaluation))

    def _done(self, outcome: Outcome) -> dict[str, Any]:
        self._training = self._network = None
        return {"done": True, "outcome": outcome.model_dump_json()}

    def cleanup(self) -> None:
        """Stopped in the middle: what was trained so far is kept for a resume."""
        if self._training is not None and self._training.epoch > self._training.resumed_epoch:
            self._training.save()
