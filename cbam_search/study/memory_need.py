"""Whether a training fits into this machine's memory at all, from shapes alone: nothing is loaded or computed for it."""

from __future__ import annotations

import math
import os

import torch

from cbam_search.architecture import AnyBackbone, Backbone
from cbam_search.cost.model import family_map_sizes
from cbam_search.data.load import machine_memory_bytes
from cbam_search.errors import SpaceError
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig
from cbam_search.training.batches import steps_per_epoch

BYTES_OF_A_VALUE = 4
"""Trainings on a CPU are in float32."""
FEWEST_IMAGES = 2
"""Of a batch, whatever the training split holds."""


def check_image_size(config: StudyConfig) -> None:
    """As `check_memory`, before any image is read, where the YAML says their size. Nothing else is known of them."""
    size = config.dataset.height_width
    if size is None or isinstance(config.backbone, OwnBackboneConfig):
        return
    channels = 1 if config.dataset.channels == "auto" else config.dataset.channels
    space = Space(config.backbone, config.attention, in_channels=channels, classes=2)
    check_memory(config, space, size, images=FEWEST_IMAGES)


def check_memory(config: StudyConfig, space: Space, image_size: tuple[int, int], *, images: int) -> None:
    """Raise SpaceError where even the smallest network's feature maps are larger than this machine's memory.

    image_size: (height, width). images: of the training split. Trainings in a cluster or on a GPU are not judged here.
    """
    if not _trains_here(config):
        return
    batch_size = even_batch_size(images, config.training.batch_size)
    least = min(_values_an_image(backbone, image_size) for backbone in space.backbones) * batch_size * BYTES_OF_A_VALUE
    available = machine_memory_bytes()
    if least > available:
        height, width = image_size
        raise SpaceError(
            f"a batch of {batch_size:,} images of {height:,} x {width:,} takes {least / 2**30:,.1f} GiB of feature maps "
            f"at least in the smallest network, and this machine has {available / 2**30:,.1f} GiB of memory. Lower "
            f"training.batch_size or dataset.image_size"
        )


def even_batch_size(images: int, batch_size: int) -> int:
    """The smallest batch of an epoch, whose batches are evened out."""
    return max(1, images // max(1, steps_per_epoch(images, batch_size)))


def _trains_here(config: StudyConfig) -> bool:
    resources = config.resources
    if resources.executor == "ray" and (resources.address is not None or "RAY_ADDRESS" in os.environ):
        return False
    return resources.gpus_of_a_trial(torch.cuda.device_count()) == 0


def _values_an_image(backbone: AnyBackbone, image_size: tuple[int, int]) -> int:
    """Of what a training holds at once at least: the image, and one map of each block for the backward pass.

    Of the user's own network nothing is known but the image.
    """
    image = backbone.in_channels * math.prod(image_size)
    if not isinstance(backbone, Backbone):
        return image
    sizes = family_map_sizes(backbone, image_size)
    largest: dict[str, int] = {}
    for site in backbone.sites:
        values = site.channels * math.prod(sizes[site.name])
        largest[site.block] = max(largest.get(site.block, 0), values)
    return image + sum(largest.values())
