"""How long an epoch takes here, from a second or so of real training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

from cbam_search.architecture import Architecture
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.errors import ResourceError
from cbam_search.running.delivery import NoInbox
from cbam_search.running.worker import Worker, WorkerJob
from cbam_search.running.worker_report import EvaluationTask

PROBED_SECONDS = 0.5
"""A part of the data is large enough once an epoch over it takes that long."""
_FEWEST_IMAGES = 4
_STEEPEST_GROWTH = 8.0
_EPOCHS_TIMED = 3


@dataclass(frozen=True)
class EpochProbe:
    """seconds: of a whole epoch with its evaluation, in proportion to those that so many images of the training split took.
    batch_size: the largest batch.
    """

    seconds: float
    images: int
    batch_size: int


def probe_epoch(architecture: Architecture, data: ImageData, job: WorkerJob) -> EpochProbe:
    """Train on ever larger parts of `data`, as a study's worker does, until one is large enough.

    A batch is never larger than what takes about PROBED_SECONDS, so that the costliest network answers soon too; small batches
    make the estimate a cautious one. Raises ResourceError where the network cannot be trained here.
    """
    images = min(_FEWEST_IMAGES, len(data.train))
    while True:
        seconds = _seconds(architecture, _part(data, images), job)
        if seconds >= PROBED_SECONDS or images == len(data.train):
            return EpochProbe(seconds * len(data.train) / images, images, min(images, job.recipe.batch_size))
        growth = min(max(PROBED_SECONDS / seconds, 2.0), _STEEPEST_GROWTH)
        images = min(int(images * growth), len(data.train))


def _seconds(architecture: Architecture, data: ImageData, job: WorkerJob) -> float:
    """Of an epoch: the median of what fits into PROBED_SECONDS, after one to warm up. At so small a rate no loss diverges."""
    recipe = job.recipe.model_copy(update={"epochs": 1 + _EPOCHS_TIMED, "lr": 1e-9, "warmup_epochs": 0.0})
    worker = Worker(replace(job, recipe=recipe), data, NoInbox())
    worker.begin(EvaluationTask("probe", architecture, seed=0))
    timed: list[float] = []
    while len(timed) <= _EPOCHS_TIMED and sum(timed[1:]) < PROBED_SECONDS:
        report = worker.step()
        if report.epoch is None:
            reason = report.outcome.reason if report.outcome else report.problem
            raise ResourceError(f"{architecture.label} cannot be trained here: {reason}")
        timed.append(report.epoch.seconds)
    return median(timed[1:])


def _part(data: ImageData, images: int) -> ImageData:
    """The first images of both splits, in the proportion of the whole."""
    held_out = max(1, round(len(data.validation) * images / len(data.train)))
    return replace(data, train=_first(data.train, images), validation=_first(data.validation, held_out))


def _first(split: ImageSplit, images: int) -> ImageSplit:
    return ImageSplit(split.images[:images], split.labels[:images])
