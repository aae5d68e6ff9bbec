"""How long an epoch takes here, from a second or so of real training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import nn

from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.training.config import TrainingConfig
from cbam_search.training.loop import train

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


def probe_epoch(model: nn.Module, data: ImageData, config: TrainingConfig, *, device: torch.device) -> EpochProbe:
    """Train `model` in place on ever larger parts of `data`, until one is large enough.

    A batch is never larger than what takes about PROBED_SECONDS, so that the costliest network answers soon too; small batches
    make the estimate a cautious one. Raises DeviceMemoryError.
    """
    images = min(_FEWEST_IMAGES, len(data.train))
    while True:
        seconds = _seconds(model, _part(data, images), config, device)
        if seconds >= PROBED_SECONDS or images == len(data.train):
            return EpochProbe(seconds * len(data.train) / images, images, min(images, config.batch_size))
        growth = min(max(PROBED_SECONDS / seconds, 2.0), _STEEPEST_GROWTH)
        images = min(int(images * growth), len(data.train))


def _seconds(model: nn.Module, data: ImageData, config: TrainingConfig, device: torch.device) -> float:
    """Of an epoch: the median of what fits into PROBED_SECONDS, after one to warm up. At so small a rate no loss diverges."""
    recipe = config.model_copy(update={"epochs": 1 + _EPOCHS_TIMED, "lr": 1e-9, "warmup_epochs": 0.0})
    training = train(model, data, recipe, seed=0, device=device)
    next(training)
    timed: list[float] = []
    for epoch in training:
        timed.append(epoch.seconds)
        if sum(timed) >= PROBED_SECONDS:
            break
    return median(timed)


def _part(data: ImageData, images: int) -> ImageData:
    """The first images of both splits, in the proportion of the whole."""
    held_out = max(1, round(len(data.validation) * images / len(data.train)))
    return replace(data, train=_first(data.train, images), validation=_first(data.validation, held_out))


def _first(split: ImageSplit, images: int) -> ImageSplit:
    return ImageSplit(split.images[:images], split.labels[:images])
