"""A worker in this process, whose inbox is a study's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cbam_search.architecture import Architecture
from cbam_search.data.images import ImageData
from cbam_search.records.folder import StudyFolder
from cbam_search.records.inbox import Inbox
from cbam_search.running.worker import Worker, WorkerJob
from cbam_search.running.worker_report import EvaluationTask
from cbam_search.training.config import TrainingConfig


def job_of(*, keep_weights: bool = True, recipe: dict[str, Any] | None = None, **options: Any) -> WorkerJob:
    """recipe: what differs from two epochs in batches of 64."""
    trained = TrainingConfig(**({"epochs": 2, "batch_size": 64} | (recipe or {})))
    return WorkerJob(recipe=trained, threads=1, on_gpu=False, keep_weights=keep_weights, **options)


def task_of(evaluation: str = "0", name: str = "cifar_resnet8_0.25+cbam", seed: int = 0) -> EvaluationTask:
    return EvaluationTask(evaluation, Architecture.named(name, in_channels=1, classes=10), seed)


def worker_of(data: ImageData, folder: Path, task: EvaluationTask | None = None, **options: Any) -> Worker:
    """A worker that has taken up `task`. options: of `job_of`."""
    worker = Worker(job_of(**options), data, Inbox(StudyFolder(folder)))
    worker.begin(task or task_of())
    return worker
