"""From an architecture, as data, to the network that computes it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from torch import nn

from cbam_search.architecture import Architecture, AttentionSpec, BlockGeometry, Geometry, OwnBackbone
from cbam_search.attention.registry import build_attention
from cbam_search.backbones.blocks import BasicBlock, Bottleneck
from cbam_search.backbones.network import Network
from cbam_search.backbones.own import build_own, code_folder
from cbam_search.backbones.separable import SeparableBlock
from cbam_search.own_code import NO_CODE, CodePermission

BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck] | type[SeparableBlock]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
    "separable": SeparableBlock,
}
AttentionByPlace = Mapping[str, tuple[AttentionSpec, int]]
"""Spec and channels of what a block, or the stem, has in each of its places."""


def build(architecture: Architecture, *, code: CodePermission = NO_CODE) -> nn.Module:
    """The network of `architecture`, freshly initialised: images (N, in_channels, H, W) to logits (N, classes).

    code: whether a user's own function may be imported and called. Raises CodeNotAllowedError before anything is imported,
    OwnCodeError.
    """
    backbone = architecture.backbone
    if isinstance(backbone, OwnBackbone):
        return build_own(backbone, architecture.placed, code_folder(backbone, code))
    geometry = backbone.geometry()
    attention = attention_by_block(architecture)
    return Network(
        **stem_settings(geometry),
        stages=[
            [build_block(block, attention.get(block.name, {})) for block in blocks]
            for _, blocks in groupby(geometry.blocks, key=lambda block: block.stage)
        ],
        stem_attention=_modules(attention.get("stem", {})).get("stem"),
    )


def build_block(block: BlockGeometry, attention: AttentionByPlace) -> nn.Module:
    """One block, with attention in its places."""
    settings: dict[str, Any] = block_settings(block) | _modules(attention)
    return BLOCKS[block.kind](*block_channels(block), **settings)


def attention_by_block(architecture: Architecture) -> dict[str, dict[str, tuple[AttentionSpec, int]]]:
    """What each block has in its places, by the block's name."""
    found: dict[str, dict[str, tuple[AttentionSpec, int]]] = {}
    for site, spec in architecture.placed:
        found.setdefault(site.block, {})[site.positions[0]] = (spec, site.channels)
    return found


def stem_settings(geometry: Geometry) -> dict[str, Any]:
    """Keyword arguments of the network for its stem and its head."""
    return {
        "stem": geometry.stem.kind,
        "in_channels": geometry.stem.in_channels,
        "stem_channels": geometry.stem.out_channels,
        "features": geometry.features,
        "classes": geometry.classes,
    }


def block_channels(block: BlockGeometry) -> tuple[Any, ...]:
    """Positional arguments of the module of `block`."""
    if block.kind == "separable":
        return block.in_channels, block.out_channels
    return block.in_channels, block.mid_channels, block.out_channels


def block_settings(block: BlockGeometry) -> dict[str, Any]:
    """Keyword arguments of the module of `block`, those that differ from the defaults alone."""
    settings: dict[str, Any] = {}
    if block.stride != 1:
        settings["stride"] = block.stride
    if block.kind == "separable":
        return settings
    if block.stride != 1:
        settings["stride_at"] = block.stride_at
    if block.groups != 1:
        settings["groups"] = block.groups
    if block.shortcut != "identity":
        settings["shortcut"] = block.shortcut
    return settings


def _modules(attention: AttentionByPlace) -> dict[str, nn.Module]:
    return {place: build_attention(spec, channels) for place, (spec, channels) in attention.items()}
