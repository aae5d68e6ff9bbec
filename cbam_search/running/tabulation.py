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
from itertools import pairwise
from pathlib import Path

import torch

from cbam_search.architecture import Architecture, Backbone
from cbam_search.backbones.pretrained import Pretrained, build_start, load_pretrained
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.errors import DivergedError
from cbam_search.records.table import TableTraining
from cbam_search.training.batches import DataOnDevice
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import deterministic
from cbam_search.training.loop import EpochResult, evaluate, train


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
    """A training to be done. architecture: as JSON."""

    digest: str
    label: str
    architecture: str
    seed: int

    def __str__(self) -> str:
        return f"training {self.label} with seed {self.seed}"


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

    def __call__(self, task: TableTask) -> TableTraining:
        architecture = Architecture.model_validate_json(task.architecture)
        with deterministic(task.seed, self._device):
            network = build_start(architecture, self._pretrained)
        epochs: list[EpochResult] = []
        clocks: list[tuple[float, float]] = [_clocks()]
        training = train(network, self._data, self._recipe, seed=task.seed, device=self._device)
        test_accuracy = math.nan
        try:
            for epoch in training:
                epochs.append(epoch)
                clocks.append(_clocks())
        except DivergedError:
            clocks.append(_clocks())
        else:
            test_accuracy = evaluate(network, self._test, self._recipe)[1].accuracy
        missing = self._recipe.epochs - len(epochs)
        return TableTraining(
            digest=task.digest,
            seed=task.seed,
            state="diverged" if missing else "complete",
            validation_accuracy=(*(epoch.accuracy for epoch in epochs), *(math.nan,) * missing),
            train_loss=(*(epoch.train_loss for epoch in epochs), *(math.nan,) * missing),
            seconds=self._spent([wall for wall, _ in clocks]),
            processor_seconds=self._spent([processor for _, processor in clocks]),
            test_accuracy=test_accuracy,
        )

    def _spent(self, clock: list[float]) -> tuple[float, ...]:
        """From what a clock showed before and after each epoch that was begun, the seconds of every epoch."""
        spent = [after - before for before, after in pairwise(clock)]
        return (*spent, *(0.0,) * (self._recipe.epochs - len(spent)))


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()
