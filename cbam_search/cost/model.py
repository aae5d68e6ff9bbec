"""Costs of the architectures of a space: sums over stem, blocks, attention and head, each traced once and remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cbam_search.architecture import Architecture, AttentionSpec, BlockGeometry, Geometry
from cbam_search.attention.registry import build_attention
from cbam_search.backbones.builder import build_block
from cbam_search.backbones.resnet import ResNet
from cbam_search.cost.cost import Cost, count_params
from cbam_search.cost.counting import count_operations

_Size = tuple[int, int]


class CostModel:
    """Exact costs at one image size (height, width), equal to `measure` to the last multiply-add.

    A part that was not seen before takes one small traced pass, about 10 ms; known parts are looked up.
    """

    def __init__(self, image_size: _Size) -> None:
        self.image_size = image_size
        self._parts: dict[Hashable, _Part] = {}

    def cost(self, architecture: Architecture) -> Cost:
        """The cost of one forward pass of `architecture` over one image."""
        geometry = architecture.geometry
        operations: dict[str, int] = {}
        params = 0
        size = _divided(self.image_size, geometry.stem.stride)
        parts = []
        for block, spec in zip(geometry.blocks, architecture.attention, strict=True):
            parts.append(self._block(block, size))
            size = _divided(size, block.stride)
            if spec is not None:
                parts.append(self._attention(spec, block.out_channels, size))
        parts.append(self._ends(geometry, size))
        for part in parts:
            params += part.params
            for operator, count in part.operations.items():
                operations[operator] = operations.get(operator, 0) + count
        return Cost.of(operations, params)

    def _block(self, block: BlockGeometry, size: _Size) -> _Part:
        """A bare block on maps of `size`."""
        shape = (block.in_channels, block.mid_channels, block.out_channels)
        key = (block.kind, shape, block.stride, block.stride_at, block.groups, block.shortcut, size)
        return self._part(key, lambda: build_block(block, None), (1, block.in_channels, *size))

    def _attention(self, spec: AttentionSpec, channels: int, size: _Size) -> _Part:
        return self._part((spec, channels, size), lambda: build_attention(spec, channels), (1, channels, *size))

    def _part(self, key: Hashable, build: Callable[[], nn.Module], shape: tuple[int, ...]) -> _Part:
        if key not in self._parts:
            with torch.device("meta"):
                module = build()
            self._parts[key] = _Part(count_operations(module, shape), count_params(module))
        return self._parts[key]

    def _ends(self, geometry: Geometry, last_size: _Size) -> _Part:
        """The stem, and the head on maps of `last_size`."""
        key = (geometry.stem, geometry.features, geometry.classes, last_size)
        if key not in self._parts:
            stem = geometry.stem
            with torch.device("meta"):
                network = ResNet(
                    stem=stem.kind,
                    in_channels=stem.in_channels,
                    stem_channels=stem.out_channels,
                    stages=(),
                    features=geometry.features,
                    classes=geometry.classes,
                )
            operations = count_operations(_Method(network, "stem"), (1, stem.in_channels, *self.image_size))
            operations += count_operations(_Method(network, "head"), (1, geometry.features, *last_size))
            self._parts[key] = _Part(operations, count_params(network))
        return self._parts[key]


@dataclass(frozen=True)
class _Part:
    operations: Counter[str]
    params: int


class _Method(nn.Module):
    """One method of a network as a module of its own, so that it can be traced."""

    def __init__(self, network: ResNet, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = getattr(self.network, self.name)(x)
        return result


def _divided(size: _Size, stride: int) -> _Size:
    """Height and width after a layer of that stride: every one here rounds up."""
    return -(-size[0] // stride), -(-size[1] // stride)
