"""The geometry of a backbone: what its stem, blocks and head are, before any torch module exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stem = Literal["imagenet", "cifar"]
Shortcut = Literal["identity", "projection", "padding"]


@dataclass(frozen=True)
class StemGeometry:
    """`imagenet`: 7x7 convolution of stride 2, batch norm, ReLU, 3x3 max pooling of stride 2. `cifar`: 3x3 of stride 1."""

    kind: Stem
    in_channels: int
    out_channels: int

    @property
    def stride(self) -> int:
        return 4 if self.kind == "imagenet" else 1


@dataclass(frozen=True)
class BlockGeometry:
    """One residual block.

    kind: `basic` (two 3x3 convolutions) or `bottleneck` (1x1, 3x3, 1x1). stride_at: index of the convolution that carries the
    stride. shortcut: `projection` is a 1x1 convolution with batch norm (option B of He et al.), `padding` takes every
    stride-th pixel and pads channels with zeros (option A).
    """

    stage: int
    block: int
    kind: Literal["basic", "bottleneck"]
    in_channels: int
    mid_channels: int
    out_channels: int
    stride: int
    stride_at: int
    groups: int
    shortcut: Shortcut


@dataclass(frozen=True)
class Site:
    """A place where attention may sit: the end of the residual branch of one block, before the addition.

    stage, block: zero-based. channels: C of the feature map there.
    """

    stage: int
    block: int
    channels: int

    def __str__(self) -> str:
        return f"s{self.stage}b{self.block}"


@dataclass(frozen=True)
class Geometry:
    """A whole backbone: stem, blocks in order, and a head of global average pooling and one linear layer."""

    stem: StemGeometry
    blocks: tuple[BlockGeometry, ...]
    classes: int

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(Site(block.stage, block.block, block.out_channels) for block in self.blocks)

    @property
    def features(self) -> int:
        """Channels that reach the head."""
        return self.blocks[-1].out_channels
