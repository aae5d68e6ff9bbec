"""From an architecture, as data, to the network that computes it."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from torch import nn

from cbam_search.architecture import Architecture, AttentionSpec, BlockGeometry
from cbam_search.attention.registry import build_attention
from cbam_search.backbones.blocks import BasicBlock, Bottleneck
from cbam_search.backbones.resnet import ResNet

BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


def build(architecture: Architecture) -> ResNet:
    """The network of `architecture`, freshly initialised: images (N, in_channels, H, W) to logits (N, classes)."""
    geometry = architecture.geometry
    sites = zip(geometry.blocks, architecture.attention, strict=True)
    stages = groupby(sites, key=lambda site: site[0].stage)
    return ResNet(
        stem=geometry.stem.kind,
        in_channels=geometry.stem.in_channels,
        stem_channels=geometry.stem.out_channels,
        stages=[[build_block(block, spec) for block, spec in blocks] for _, blocks in stages],
        features=geometry.features,
        classes=geometry.classes,
    )


def build_block(block: BlockGeometry, spec: AttentionSpec | None) -> nn.Module:
    """One residual block, with the attention of `spec` at the end of its branch."""
    attention = build_attention(spec, block.out_channels) if spec is not None else None
    return BLOCKS[block.kind](
        block.in_channels, block.mid_channels, block.out_channels, attention=attention, **block_settings(block)
    )


def block_settings(block: BlockGeometry) -> dict[str, Any]:
    """Keyword arguments of the module of `block`, those that differ from the defaults alone."""
    settings: dict[str, Any] = {}
    if block.stride != 1:
        settings |= {"stride": block.stride, "stride_at": block.stride_at}
    if block.groups != 1:
        settings["groups"] = block.groups
    if block.shortcut != "identity":
        settings["shortcut"] = block.shortcut
    return settings
