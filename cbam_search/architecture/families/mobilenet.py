"""MobileNet v1 (Howard et al., arXiv 1704.04861, table 1): depthwise separable convolutions, with a width multiplier.

Channels are int(width * channels), in the stem too. The paper's network has 28 layers; its shallow one (table 5) leaves out the
five blocks of 512 channels, and depths between leave out some of them.
"""

from __future__ import annotations

import re

from cbam_search.architecture.backbone import FAMILIES, Backbone, Family
from cbam_search.architecture.families.staged import canonical_width, width_suffix
from cbam_search.architecture.geometry import BlockGeometry, Geometry, Site, StemGeometry, StemKind
from cbam_search.architecture.sites import SEPARABLE_POSITIONS, separable_sites

_NAME = re.compile(r"mobilenet(?P<depth>\d+)?_(?P<width>\d+\.\d+)")
DEPTHS = (18, 20, 22, 24, 26, 28)
STEM_CHANNELS = 32
STAGE_CHANNELS = (64, 128, 256, 512, 1024)


class MobileNet(Family):
    """`mobilenet_1.0`, `mobilenet_0.7`; `mobilenet18_1.0` is the shallow one."""

    depths = DEPTHS
    default_depth = 28
    default_stem = "imagenet"
    positions = SEPARABLE_POSITIONS
    default_position = "every_norm"

    def check(self, backbone: Backbone) -> None:
        if backbone.depth not in DEPTHS:
            raise ValueError(f"mobilenet has no depth {backbone.depth}. Allowed: {', '.join(map(str, DEPTHS))}")
        if backbone.cardinality != 1 or backbone.base_width != 64:
            raise ValueError("mobilenet has no cardinality or base_width; family resnext has")
        if int(STEM_CHANNELS * backbone.width) < 1:
            raise ValueError(f"width {backbone.width} leaves no channel in the stem")

    def geometry(self, backbone: Backbone) -> Geometry:
        stem_channels = int(STEM_CHANNELS * backbone.width)
        kind: StemKind = "strided" if backbone.stem == "imagenet" else "cifar"
        blocks_per_stage = (1, 2, 2, 1 + (backbone.depth - 18) // 2, 2)
        blocks: list[BlockGeometry] = []
        in_channels = stem_channels
        for stage, count in enumerate(blocks_per_stage):
            out_channels = int(STAGE_CHANNELS[stage] * backbone.width)
            for block in range(count):
                blocks.append(
                    BlockGeometry(
                        stage=stage,
                        block=block,
                        kind="separable",
                        in_channels=in_channels,
                        mid_channels=in_channels,
                        out_channels=out_channels,
                        stride=2 if block == 0 and stage > 0 else 1,
                        stride_at=0,
                        groups=in_channels,
                        shortcut="none",
                    )
                )
                in_channels = out_channels
        return Geometry(
            stem=StemGeometry(kind, backbone.in_channels, stem_channels), blocks=tuple(blocks), classes=backbone.classes
        )

    def sites(self, geometry: Geometry) -> tuple[Site, ...]:
        return separable_sites(geometry)

    def canonical(self, backbone: Backbone) -> Backbone:
        """There are no bottlenecks: v1 and v1.5 are the same network."""
        return backbone.model_copy(update={"variant": "v1", "width": canonical_width(backbone.width, STAGE_CHANNELS[-1:])})

    def name(self, backbone: Backbone) -> str:
        depth = "" if backbone.depth == self.default_depth else backbone.depth
        return f"mobilenet{depth}_{width_suffix(backbone.width)}"

    def parse(self, name: str) -> dict[str, object] | None:
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return {"depth": int(match["depth"] or self.default_depth), "stem": "imagenet", "width": float(match["width"])}

    def example_names(self) -> tuple[str, ...]:
        return "mobilenet_1.0", "mobilenet_0.7", "mobilenet18_1.0"


FAMILIES.register("mobilenet", MobileNet())
