"""ResNet 18 to 152 for ImageNet (He et al., arXiv 1512.03385), plain or widened.

Widened networks multiply the channels of every stage and keep the 64-channel stem, as in the CBAM paper's table 4.
"""

from __future__ import annotations

import re
from typing import Literal

from cbam_search.architecture.backbone import FAMILIES, Backbone
from cbam_search.architecture.families.staged import (
    ResidualFamily,
    canonical_width,
    staged_geometry,
    widened_name,
    widened_settings,
)
from cbam_search.architecture.geometry import Geometry, StemGeometry

BLOCKS_PER_STAGE: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BASIC_DEPTHS = (18, 34)
STEM_CHANNELS = 64
_NAME = re.compile(r"(?P<wide>wide_)?resnet(?P<depth>\d+)(_(?P<width>\d+\.\d+))?(?P<variant>_v1\.5)?")


class ResNet(ResidualFamily):
    """`resnet50`, `resnet50_v1.5`, `wide_resnet18_1.5`."""

    depths = tuple(BLOCKS_PER_STAGE)
    default_stem = "imagenet"

    def check(self, backbone: Backbone) -> None:
        if backbone.depth not in BLOCKS_PER_STAGE:
            raise ValueError(f"resnet has no depth {backbone.depth}. Allowed: {', '.join(map(str, self.depths))}")
        if backbone.cardinality != 1 or backbone.base_width != 64:
            raise ValueError("resnet has no cardinality or base_width; family resnext has")
        if int(64 * backbone.width) < 1:
            raise ValueError(f"width {backbone.width} leaves no channel in the first stage")

    def geometry(self, backbone: Backbone) -> Geometry:
        kind: Literal["basic", "bottleneck"] = "basic" if backbone.depth in BASIC_DEPTHS else "bottleneck"

        def channels(stage: int) -> tuple[int, int]:
            mid_channels = int(64 * 2**stage * backbone.width)
            return mid_channels, mid_channels if kind == "basic" else 4 * mid_channels

        return staged_geometry(
            stem=StemGeometry(backbone.stem, backbone.in_channels, STEM_CHANNELS),
            kind=kind,
            blocks_per_stage=BLOCKS_PER_STAGE[backbone.depth],
            channels=channels,
            stride_at=1 if kind == "bottleneck" and backbone.variant == "v1.5" else 0,
            groups=1,
            reshaping_shortcut="projection",
            classes=backbone.classes,
        )

    def canonical(self, backbone: Backbone) -> Backbone:
        """Basic blocks have one form: v1 and v1.5 differ in bottlenecks alone."""
        variant = "v1" if backbone.depth in BASIC_DEPTHS else backbone.variant
        return backbone.model_copy(update={"variant": variant, "width": canonical_width(backbone.width, (512,))})

    def name(self, backbone: Backbone) -> str:
        return widened_name(f"resnet{backbone.depth}", backbone.width, self.canonical(backbone).variant)

    def parse(self, name: str) -> dict[str, object] | None:
        match = _NAME.fullmatch(name)
        return widened_settings(match) if match else None

    def example_names(self) -> tuple[str, ...]:
        return (*(f"resnet{depth}" for depth in self.depths), "resnet50_v1.5", "wide_resnet18_1.5")


FAMILIES.register("resnet", ResNet())
