"""ResNets for CIFAR (He et al., arXiv 1512.03385, section 4.2): depth 6n + 2, three stages of basic blocks.

Stages have 16, 32 and 64 channels; shortcuts that change shape take every second pixel and pad with zero channels (option A),
as published. The width factor multiplies the stem too, so that narrow networks are narrow from the first layer.
"""

from __future__ import annotations

import re

from cbam_search.architecture.backbone import FAMILIES, Backbone
from cbam_search.architecture.families.staged import ResidualFamily, canonical_width, staged_geometry, width_suffix
from cbam_search.architecture.geometry import Geometry, StemGeometry

_NAME = re.compile(r"cifar_resnet(?P<depth>\d+)(_(?P<width>\d+\.\d+))?")
DEEPEST = 1202


class CifarResNet(ResidualFamily):
    """`cifar_resnet20`, `cifar_resnet20_0.5`; any depth 6n + 2 from 8 to the 1202 of the paper."""

    depths = (8, 14, 20, 32, 44, 56, 110)
    default_stem = "cifar"

    def check(self, backbone: Backbone) -> None:
        if not 8 <= backbone.depth <= DEEPEST or (backbone.depth - 2) % 6:
            allowed = ", ".join(map(str, self.depths))
            raise ValueError(
                f"cifar_resnet has no depth {backbone.depth}. Allowed: 6n + 2 from 8 to {DEEPEST}, such as {allowed}"
            )
        if backbone.cardinality != 1 or backbone.base_width != 64:
            raise ValueError("cifar_resnet has no cardinality or base_width; family resnext has")
        if backbone.stem != "cifar":
            raise ValueError("cifar_resnet has the stem 'cifar'; family resnet has the stem 'imagenet'")
        if int(16 * backbone.width) < 1:
            raise ValueError(f"width {backbone.width} leaves no channel in the first stage")

    def geometry(self, backbone: Backbone) -> Geometry:
        def channels(stage: int) -> tuple[int, int]:
            return (int(16 * 2**stage * backbone.width),) * 2

        return staged_geometry(
            stem=StemGeometry(backbone.stem, backbone.in_channels, channels(0)[0]),
            kind="basic",
            blocks_per_stage=((backbone.depth - 2) // 6,) * 3,
            channels=channels,
            stride_at=0,
            groups=1,
            reshaping_shortcut="padding",
            classes=backbone.classes,
        )

    def canonical(self, backbone: Backbone) -> Backbone:
        """Blocks are basic: v1 and v1.5 are the same network."""
        return backbone.model_copy(update={"variant": "v1", "width": canonical_width(backbone.width, (64,))})

    def name(self, backbone: Backbone) -> str:
        suffix = "" if backbone.width == 1.0 else f"_{width_suffix(backbone.width)}"
        return f"cifar_resnet{backbone.depth}{suffix}"

    def parse(self, name: str) -> dict[str, object] | None:
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        settings: dict[str, object] = {"depth": int(match["depth"]), "stem": "cifar"}
        if match["width"]:
            settings["width"] = float(match["width"])
        return settings

    def example_names(self) -> tuple[str, ...]:
        return (*(f"cifar_resnet{depth}" for depth in self.depths), "cifar_resnet20_0.5")


FAMILIES.register("cifar_resnet", CifarResNet())
