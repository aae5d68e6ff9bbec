"""What a process of `tabulate` does: one training after another, the data in its memory, on CPU or on a GPU.

A training is that of a study's `Worker`: first weights, batch order and augmentation depend on its seed alone. Nothing is
handed over on the way, since a table keeps whole trainings.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from cbam_search.architecture import Architecture, Backbone
from cbam_search.backbones.pretrained import load_pretrained
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.errors import StudyFailedError
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.trials import Outcome, TrialState, evaluation_id
from cbam_search.running.delivery import NoInbox
from cbam_search.running.worker import Worker, WorkerJob
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.training.config import TrainingConfig
from cbam_search.training.epoch import Epoch


@dataclass(frozen=True)
class TableJob:
    """What all trainings of a table share. threads: torch's, in each process. weights: files by backbone; none from scratch."""

    recipe: TrainingConfig
    data: ImageData
    test: ImageSplit
    threads: int
    on_gpu: bool
    weights: Mapping[Backbone, Path]

    def start(self, process: int) -> TableTrainer:
        """What trains in process `process`; several GPUs are dealt out in turn."""
        return TableTrainer(self, process)


def table_task(architecture: Architecture, seed: int) -> EvaluationTask:
    """One training of a table."""
    return EvaluationTask(evaluation_id(architecture.digest, seed), architecture, seed)


class TableTrainer:
    """Trains tasks. Raises StudyFailedError for a training that ended otherwise than complete or diverged."""

    def __init__(self, job: TableJob, process: int) -> None:
        self._worker = Worker(
            WorkerJob(recipe=job.recipe, threads=job.threads, on_gpu=job.on_gpu),
            job.data,
            NoInbox(),
            pretrained={backbone: load_pretrained(path, backbone) for backbone, path in job.weights.items()},
            test=job.test,
            own_process=True,
            gpu=process % torch.cuda.device_count() if job.on_gpu else 0,
        )

    def __call__(self, task: EvaluationTask) -> Evaluation:
        self._worker.begin(task)
        epochs: list[Epoch] = []
        report = WorkerReport()
        while report.outcome is None:
            begun = _clocks()
            report = self._worker.step()
            if report.epoch is not None:
                epochs.append(report.epoch)
        outcome = report.outcome
        if outcome.state is TrialState.DIVERGED:
            wall_seconds, processor_seconds = (after - before for before, after in zip(begun, _clocks(), strict=True))
            lost = {"train_loss": math.nan, "accuracy": math.nan}
            epochs.append(Epoch(len(epochs) + 1, lost, wall_seconds, processor_seconds))
        elif outcome.state is not TrialState.COMPLETE:
            raise StudyFailedError(outcome.reason)
        return Evaluation(
            architecture=task.architecture,
            seed=task.seed,
            epochs=tuple(epochs),
            outcome=_as_tabulated(outcome, sum(epoch.seconds for epoch in epochs)),
        )


def _as_tabulated(outcome: Outcome, seconds: float) -> Outcome:
    """Without the reason, which a table has no column for, and with the time of the epoch that was lost."""
    return outcome.model_copy(update={"seconds": seconds, "reason": None})


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()
