"""The geometry of a backbone: what its stem, blocks and head are, before any torch module exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stem = Literal["imagenet", "cifar"]
StemKind = Literal["imagenet", "strided", "cifar"]
BlockKind = Literal["basic", "bottleneck", "separable"]
Shortcut = Literal["identity", "projection", "padding", "none"]


@dataclass(frozen=True)
class StemGeometry:
    """A convolution, batch norm and ReLU.

    kind: `imagenet` is 7x7 of stride 2, followed by 3x3 max pooling of stride 2; `strided` is 3x3 of stride 2; `cifar` is 3x3
    of stride 1.
    """

    kind: StemKind
    in_channels: int
    out_channels: int

    @property
    def conv_stride(self) -> int:
        return 1 if self.kind == "cifar" else 2

    @property
    def stride(self) -> int:
        """Of the whole stem, its pooling included."""
        return 4 if self.kind == "imagenet" else self.conv_stride


@dataclass(frozen=True)
class BlockGeometry:
    """One block.

    kind: `basic` (two 3x3 convolutions), `bottleneck` (1x1, 3x3, 1x1) or `separable` (a depthwise 3x3, then 1x1; no shortcut).
    stride_at: index of the convolution that carries the stride. shortcut: `projection` is a 1x1 convolution with batch norm
    (option B of He et al.), `padding` takes every stride-th pixel and pads channels with zeros (option A).
    """

    stage: int
    block: int
    kind: BlockKind
    in_channels: int
    mid_channels: int
    out_channels: int
    stride: int
    stride_at: int
    groups: int
    shortcut: Shortcut

    @property
    def name(self) -> str:
        return f"s{self.stage}b{self.block}"


@dataclass(frozen=True)
class Site:
    """A place where attention may sit.

    name: unique in its backbone, such as `s0b1.branch_end`. stage: zero-based. block: name of what shares a choice made for
    each block: `s0b1`, or `stem`. positions: names of the positions that this place belongs to, the first its own within the
    block. channels: C of the feature map there. before_stride: whether the map has the size that enters the block.
    """

    name: str
    stage: int
    block: str
    positions: tuple[str, ...]
    channels: int
    before_stride: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Geometry:
    """A whole backbone: stem, blocks in order, and a head of global average pooling and one linear layer."""

    stem: StemGeometry
    blocks: tuple[BlockGeometry, ...]
    classes: int

    @property
    def features(self) -> int:
        """Channels that reach the head."""
        return self.blocks[-1].out_channels
