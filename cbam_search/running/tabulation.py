"""What a worker of `tabulate` does: one training after another, the data in its memory, on CPU or on a GPU.

A training is that of `CandidateTrainable`, without checkpoints: first weights, batch order and augmentation depend on its seed
alone. Ray is not imported here.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cbam_search.architecture import Architecture, Backbone
from cbam_search.backbones.pretrained import Pretrained, build_start, load_pretrained
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.errors import DivergedError
from cbam_search.metrics import Measured, trained_values
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.table import TEST_ACCURACY
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.training.batches import DataOnDevice
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import deterministic
from cbam_search.training.epoch import Epoch
from cbam_search.training.loop import evaluate, train
from cbam_search.training.numerics import NUMERICS_VERSION


@dataclass(frozen=True)
class TableJob:
    """What all trainings of a table share. threads: torch's, in each worker. weights: files by backbone; none from scratch."""

    recipe: TrainingConfig
    data: ImageData
    test: ImageSplit
    threads: int
    on_gpu: bool
    weights: Mapping[Backbone, Path]

    def start(self, worker: int) -> TableTrainer:
        """What trains in worker `worker`; several GPUs are dealt out in turn."""
        return TableTrainer(self, worker)


@dataclass(frozen=True)
class TableTask:
    """A training to be done."""

    architecture: Architecture
    seed: int

    def __str__(self) -> str:
        return f"training {self.architecture.label} with seed {self.seed}"


class TableTrainer:
    """Trains tasks; expected errors other than divergence (out of memory) are raised."""

    def __init__(self, job: TableJob, worker: int) -> None:
        torch.set_num_threads(job.threads)
        # cuBLAS reads this once, when CUDA starts; without it matrix products differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._recipe = job.recipe
        self._device = torch.device("cuda", worker % torch.cuda.device_count()) if job.on_gpu else torch.device("cpu")
        self._data = DataOnDevice(job.data, self._device)
        self._test = DataOnDevice(replace(job.data, validation=job.test), self._device)
        self._pretrained: Pretrained = {backbone: load_pretrained(path, backbone) for backbone, path in job.weights.items()}

    def __call__(self, task: TableTask) -> Evaluation:
        with deterministic(task.seed, self._device):
            network = build_start(task.architecture, self._pretrained)
        epochs: list[Epoch] = []
        training = train(network, self._data, self._recipe, seed=task.seed, device=self._device)
        begun = _clocks()
        metrics: dict[str, Measured] = {}
        try:
            for epoch in training:
                epochs.append(epoch)
                begun = _clocks()
        except DivergedError:
            wall, processor = (after - before for before, after in zip(begun, _clocks(), strict=True))
            lost = {"train_loss": math.nan, "accuracy": math.nan}
            trained, state = len(epochs), TrialState.DIVERGED
            epochs.append(Epoch(len(epochs) + 1, lost, wall, processor))
        else:
            trained, state = len(epochs), TrialState.COMPLETE
            confusion = evaluate(network, self._test, self._recipe)[1]
            metrics = {**training.measured, TEST_ACCURACY: trained_values(confusion)["accuracy"]}
        return Evaluation(
            architecture=task.architecture,
            seed=task.seed,
            epochs=tuple(epochs),
            outcome=Outcome(
                state=state,
                metrics=metrics,
                epochs=trained,
                seconds=sum(epoch.seconds for epoch in epochs),
                numerics_version=NUMERICS_VERSION,
            ),
        )


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()
