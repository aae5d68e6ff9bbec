"""What all ResNets share: stages of residual blocks, the first block of a stage carrying its stride."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal

from cbam_search.architecture.backbone import Family, Variant
from cbam_search.architecture.geometry import BlockGeometry, Geometry, Shortcut, Site, StemGeometry
from cbam_search.architecture.sites import RESIDUAL_POSITIONS, residual_sites

_MOST_DECIMALS = 17
"""A float has no more than that."""


class ResidualFamily(Family):
    """Where attention may sit in any ResNet."""

    positions = RESIDUAL_POSITIONS
    default_position = "branch_end"

    def sites(self, geometry: Geometry) -> tuple[Site, ...]:
        return residual_sites(geometry)


def staged_geometry(
    *,
    stem: StemGeometry,
    kind: Literal["basic", "bottleneck"],
    blocks_per_stage: Sequence[int],
    channels: Callable[[int], tuple[int, int]],
    stride_at: int,
    groups: int,
    reshaping_shortcut: Shortcut,
    classes: int,
) -> Geometry:
    """Lay out the stages; `channels(stage)` gives the (middle, output) channels of that stage's blocks."""
    blocks: list[BlockGeometry] = []
    in_channels = stem.out_channels
    for stage, count in enumerate(blocks_per_stage):
        mid_channels, out_channels = channels(stage)
        for block in range(count):
            stride = 2 if block == 0 and stage > 0 else 1
            reshapes = stride != 1 or in_channels != out_channels
            blocks.append(
                BlockGeometry(
                    stage=stage,
                    block=block,
                    kind=kind,
                    in_channels=in_channels,
                    mid_channels=mid_channels,
                    out_channels=out_channels,
                    stride=stride,
                    stride_at=stride_at,
                    groups=groups,
                    shortcut=reshaping_shortcut if reshapes else "identity",
                )
            )
            in_channels = out_channels
    return Geometry(stem=stem, blocks=tuple(blocks), classes=classes)


def width_suffix(width: float) -> str:
    """How names print a width factor: 1.5, 2.0, 0.25."""
    return str(float(width))


def widened_name(base: str, width: float, variant: Variant) -> str:
    """`wide_BASE_1.5` where the width factor is not 1, `BASE_v1.5` for that variant."""
    name = base if width == 1.0 else f"wide_{base}_{width_suffix(width)}"
    return name + ("_v1.5" if variant == "v1.5" else "")


def widened_settings(match: re.Match[str]) -> dict[str, object] | None:
    """Depth, stem, width factor and variant of a name; None where `wide_` and the factor do not go together."""
    if bool(match["wide"]) != bool(match["width"]):
        return None
    settings: dict[str, object] = {"depth": int(match["depth"]), "stem": "imagenet"}
    if match["width"]:
        settings["width"] = float(match["width"])
    if match["variant"]:
        settings["variant"] = "v1.5"
    return settings


def canonical_width(width: float, last_stage_channels: Sequence[int]) -> float:
    """The factor of fewest decimals, and the smallest of those, that gives the same channels in every stage.

    last_stage_channels: what the factor multiplies in the last stage. Earlier stages have a power of two fewer, and every
    product is rounded down, so that the last stage decides.
    """
    narrowest = max(Fraction(int(channels * width), channels) for channels in last_stage_channels)
    for decimals in range(1, _MOST_DECIMALS):
        shortened = float(Fraction(math.ceil(narrowest * 10**decimals), 10**decimals))
        if all(int(channels * shortened) == int(channels * width) for channels in last_stage_channels):
            return shortened
    return width
