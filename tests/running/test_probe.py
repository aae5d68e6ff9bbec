from __future__ import annotations

import numpy as np
import pytest

from cbam_search.architecture import Architecture
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.errors import ResourceError
from cbam_search.running import probe
from cbam_search.running.probe import probe_epoch
from cbam_search.running.worker import WorkerJob
from cbam_search.training.config import TrainingConfig


def noise(train: int, validation: int) -> ImageData:
    draw = np.random.default_rng(0)

    def split(images: int) -> ImageSplit:
        return ImageSplit(draw.integers(0, 256, (images, 1, 8, 8), np.uint8), draw.integers(0, 10, images))

    names = tuple("0123456789")
    return ImageData(split(train), split(validation), 0, names, (0.5,), (0.5,), "f" * 64, "memory")


def network(classes: int = 10) -> Architecture:
    return Architecture.named("cifar_resnet8_0.25", in_channels=1, classes=classes)


def job(**recipe: float) -> WorkerJob:
    return WorkerJob(recipe=TrainingConfig.model_validate(recipe), threads=1, on_gpu=False)


def test_few_images_are_all_trained_on(monkeypatch) -> None:
    monkeypatch.setattr(probe, "PROBED_SECONDS", 1e9)
    probed = probe_epoch(network(), noise(70, 20), job(batch_size=32, lr=100.0))
    assert (probed.images, probed.batch_size) == (70, 32)
    assert probed.seconds > 0


def test_a_part_stands_for_many_images(monkeypatch) -> None:
    """With no patience the first part is enough, and its time is scaled up to all images."""
    monkeypatch.setattr(probe, "PROBED_SECONDS", 0.0)
    data = noise(4000, 400)
    monkeypatch.setattr(probe, "_seconds", lambda architecture, part, job: len(part.train) + len(part.validation))
    probed = probe_epoch(network(), data, job(batch_size=32))
    assert (probed.images, probed.batch_size) == (4, 4)
    assert probed.seconds == (4 + 1) * 1000


def test_a_network_that_cannot_be_trained_here_is_named() -> None:
    with pytest.raises(ResourceError, match=r"cifar_resnet8_0\.25 cannot be trained here: .*Error"):
        probe_epoch(network(classes=3), noise(70, 20), job(batch_size=32))
