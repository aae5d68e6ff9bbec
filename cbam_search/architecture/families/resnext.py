"""ResNeXt 50, 101 and 152 (Xie et al., arXiv 1611.05431): bottlenecks with grouped 3x3 convolutions."""

from __future__ import annotations

import re

from cbam_search.architecture.backbone import FAMILIES, Backbone
from cbam_search.architecture.families.resnet import BLOCKS_PER_STAGE, STEM_CHANNELS
from cbam_search.architecture.families.staged import (
    ResidualFamily,
    canonical_width,
    staged_geometry,
    widened_name,
    widened_settings,
)
from cbam_search.architecture.geometry import Geometry, StemGeometry

_NAME = re.compile(
    r"(?P<wide>wide_)?resnext(?P<depth>\d+)_(?P<cardinality>\d+)x(?P<base_width>\d+)d"
    r"(_(?P<width>\d+\.\d+))?(?P<variant>_v1\.5)?"
)


class ResNeXt(ResidualFamily):
    """`resnext50_32x4d`: 32 groups, 4 channels a group in the first stage."""

    depths = (50, 101, 152)
    default_stem = "imagenet"

    def check(self, backbone: Backbone) -> None:
        if backbone.depth not in self.depths:
            raise ValueError(f"resnext has no depth {backbone.depth}. Allowed: {', '.join(map(str, self.depths))}")
        mid_channels = self._mid_channels(backbone, 0)
        if mid_channels < 1 or mid_channels % backbone.cardinality or int(256 * backbone.width) < 1:
            raise ValueError(
                f"cardinality {backbone.cardinality} x base_width {backbone.base_width} x width {backbone.width} gives "
                f"{mid_channels} channels in the first stage, which {backbone.cardinality} groups cannot share evenly"
            )

    @staticmethod
    def _mid_channels(backbone: Backbone, stage: int) -> int:
        return int(backbone.cardinality * backbone.base_width * backbone.width * 2**stage)

    def geometry(self, backbone: Backbone) -> Geometry:
        return staged_geometry(
            stem=StemGeometry(backbone.stem, backbone.in_channels, STEM_CHANNELS),
            kind="bottleneck",
            blocks_per_stage=BLOCKS_PER_STAGE[backbone.depth],
            channels=lambda stage: (self._mid_channels(backbone, stage), int(256 * 2**stage * backbone.width)),
            stride_at=1 if backbone.variant == "v1.5" else 0,
            groups=backbone.cardinality,
            reshaping_shortcut="projection",
            classes=backbone.classes,
        )

    def canonical(self, backbone: Backbone) -> Backbone:
        """One group of 64 channels is a ResNet, where the width factor rounds alike."""
        if (backbone.cardinality, backbone.base_width) == (1, 64):
            resnet = backbone.model_copy(update={"family": "resnet"})
            if resnet.geometry() == backbone.geometry():
                return resnet.canonical()
        last_stage_channels = (8 * backbone.cardinality * backbone.base_width, 2048)
        return backbone.model_copy(update={"width": canonical_width(backbone.width, last_stage_channels)})

    def name(self, backbone: Backbone) -> str:
        base = f"resnext{backbone.depth}_{backbone.cardinality}x{backbone.base_width}d"
        return widened_name(base, backbone.width, backbone.variant)

    def parse(self, name: str) -> dict[str, object] | None:
        match = _NAME.fullmatch(name)
        settings = widened_settings(match) if match else None
        if match is None or settings is None:
            return None
        return settings | {"cardinality": int(match["cardinality"]), "base_width": int(match["base_width"])}

    def example_names(self) -> tuple[str, ...]:
        return tuple(f"resnext{depth}_32x4d" for depth in self.depths)


FAMILIES.register("resnext", ResNeXt())
