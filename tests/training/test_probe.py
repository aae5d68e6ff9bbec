from __future__ import annotations

import numpy as np
import torch

from cbam_search.architecture import Architecture
from cbam_search.backbones.builder import build
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.training import probe
from cbam_search.training.config import TrainingConfig
from cbam_search.training.probe import probe_epoch

CPU = torch.device("cpu")


def noise(train: int, validation: int) -> ImageData:
    draw = np.random.default_rng(0)

    def split(images: int) -> ImageSplit:
        return ImageSplit(draw.integers(0, 256, (images, 1, 8, 8), np.uint8), draw.integers(0, 10, images))

    names = tuple("0123456789")
    return ImageData(split(train), split(validation), 0, names, (0.5,), (0.5,), "f" * 64, "memory")


def network() -> torch.nn.Module:
    backbone = Architecture.named("cifar_resnet8").backbone.model_copy(update={"width": 0.25, "in_channels": 1, "classes": 10})
    return build(Architecture(backbone=backbone))


def test_few_images_are_all_trained_on(monkeypatch) -> None:
    monkeypatch.setattr(probe, "PROBED_SECONDS", 1e9)
    probed = probe_epoch(network(), noise(70, 20), TrainingConfig(batch_size=32, lr=100.0), device=CPU)
    assert (probed.images, probed.batch_size) == (70, 32)
    assert probed.seconds > 0


def test_a_part_stands_for_many_images(monkeypatch) -> None:
    """With no patience the first part is enough, and its time is scaled up to all images."""
    monkeypatch.setattr(probe, "PROBED_SECONDS", 0.0)
    data = noise(4000, 400)
    monkeypatch.setattr(probe, "_seconds", lambda model, part, config, device: len(part.train) + len(part.validation))
    probed = probe_epoch(network(), data, TrainingConfig(batch_size=32), device=CPU)
    assert (probed.images, probed.batch_size) == (4, 4)
    assert probed.seconds == (4 + 1) * 1000
