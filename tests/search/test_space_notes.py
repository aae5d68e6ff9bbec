"""Choices that change nothing at the images of a study are named; choices that do are not."""

from __future__ import annotations

import pytest

from cbam_search.cost.model import CostModel
from cbam_search.search.space_notes import space_notes
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space

CIFAR = {"family": "cifar_resnet", "depth": 8, "width": 0.25}
"""Sites of 4, 8 and 16 channels."""
RESNET = {"family": "resnet", "depth": 18}


def notes(backbone: dict[str, object], attention: dict[str, object], size: int) -> tuple[str, ...]:
    space = Space(BackboneConfig.model_validate(backbone), AttentionConfig.model_validate(attention), in_channels=1, classes=3)
    return space_notes(space, CostModel((size, size)))


@pytest.mark.parametrize(
    ("backbone", "attention", "size", "words"),
    [
        (CIFAR, {"kind": ["se", "cbam"], "reduction_ratio": [64, 128]}, 8, "one hidden unit at every site: the widest has 16"),
        (CIFAR, {"kind": ["none", "se"], "reduction_ratio": [1, 4, 16, 17]}, 8, "16, 17 give the same hidden width"),
        (CIFAR, {"kind": ["cbam"], "spatial_kernel_size": [3, 17]}, 8, "spatial_kernel_size 17 is larger than any map"),
        (RESNET, {}, 16, "images of 16 x 16 are too small for the strides of resnet18: from s2b0 on"),
        (CIFAR, {"kind": ["none", "se"]}, 1, "images of 1 x 1 are too small"),
    ],
)
def test_what_changes_nothing_is_said(backbone: dict[str, object], attention: dict[str, object], size: int, words: str) -> None:
    (note,) = notes(backbone, attention, size)
    assert words in note


@pytest.mark.parametrize(
    ("backbone", "attention", "size"),
    [
        (CIFAR, {"kind": ["se", "cbam"], "reduction_ratio": [4, 8, 16], "spatial_kernel_size": [3, 5, 7]}, 8),
        (CIFAR, {"kind": ["none"], "reduction_ratio": [64]}, 8),
        (CIFAR, {"kind": ["se"], "spatial_kernel_size": [31]}, 8),
        (RESNET, {}, 32),
        (RESNET, {"kind": ["cbam"], "spatial_kernel_size": [7, "none"]}, 224),
    ],
)
def test_what_changes_something_is_not(backbone: dict[str, object], attention: dict[str, object], size: int) -> None:
    assert notes(backbone, attention, size) == ()
