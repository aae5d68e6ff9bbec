"""Costs of the architectures of a space: sums over stem, blocks, attention and head, each traced once and remembered."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor, nn

from cbam_search.architecture import (
    AnyBackbone,
    Architecture,
    AttentionSpec,
    Backbone,
    BlockGeometry,
    Geometry,
    OwnBackbone,
)
from cbam_search.attention.registry import build_attention_parts
from cbam_search.backbones.builder import build, build_block, stem_settings
from cbam_search.backbones.network import Network
from cbam_search.backbones.shapes_only import shapes_only
from cbam_search.backbones.tracing import output_shapes
from cbam_search.cost.cost import Cost, count_params
from cbam_search.cost.counting import Operations, count_operations
from cbam_search.own_code import NO_CODE, CodePermission

_Size = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """What a part of a network takes, for one forward pass over one image."""

    operations: Operations
    params: int

    def __add__(self, other: Part) -> Part:
        return Part(self.operations + other.operations, self.params + other.params)


@dataclass(frozen=True)
class _Bare:
    """A backbone without attention. sizes: (height, width) of the map at each site, by its name."""

    part: Part
    sizes: dict[str, _Size]


class CostModel:
    """Exact costs at one image size (height, width), equal to `measure` to the last multiply-add.

    A part that was not seen before takes one small traced pass, about 10 ms; known parts are looked up. The user's own networks
    are traced whole, once each, for which `code` is needed, as for `build`, whose errors are raised.
    """

    def __init__(self, image_size: _Size, *, code: CodePermission = NO_CODE) -> None:
        self.image_size = image_size
        self._code = code
        self._parts: dict[Hashable, Part] = {}
        self._bare_backbones: dict[Hashable, _Bare] = {}

    def cost(self, architecture: Architecture) -> Cost:
        """The cost of one forward pass of `architecture` over one image."""
        bare = self._bare(architecture.backbone)
        counts: dict[str, int] = dict(bare.part.operations.counts)
        params = bare.part.params
        for part in self.attention(architecture).values():
            params += part.params
            for operator, count in part.operations.counts.items():
                counts[operator] = counts.get(operator, 0) + count
        return Cost.of(counts, params, bare.part.operations.unknown)

    def attention(self, architecture: Architecture) -> dict[str, Part]:
        """What attention adds to the bare backbone, by the name of its site."""
        sizes = self.map_sizes(architecture.backbone)
        return {site.name: self.added(spec, site.channels, sizes[site.name]) for site, spec in architecture.placed}

    def map_sizes(self, backbone: AnyBackbone) -> dict[str, _Size]:
        """Height and width of the map at each site, by its name."""
        return self._bare(backbone).sizes

    def _bare(self, backbone: AnyBackbone) -> _Bare:
        if backbone not in self._bare_backbones:
            bare = self._composed(backbone) if isinstance(backbone, Backbone) else self._traced(backbone)
            self._bare_backbones[backbone] = bare
        return self._bare_backbones[backbone]

    def _traced(self, backbone: OwnBackbone) -> _Bare:
        """The user's own network, counted whole."""
        architecture = Architecture(backbone=backbone)
        network = build(architecture, code=self._code)
        shape = (1, backbone.in_channels, *self.image_size)
        sizes = {name: (height, width) for name, (_, _, height, width) in output_shapes(network, backbone, shape).items()}
        return _Bare(Part(count_operations(network, shape), count_params(network)), sizes)

    def _composed(self, backbone: Backbone) -> _Bare:
        geometry = backbone.geometry()
        size = _divided(self.image_size, geometry.stem.stride)
        total = Part(Operations(), 0)
        for block in geometry.blocks:
            total += self._block(block, size)
            size = _divided(size, block.stride)
        return _Bare(total + self._ends(geometry, size), family_map_sizes(backbone, self.image_size))

    def _block(self, block: BlockGeometry, size: _Size) -> Part:
        """A bare block on maps of `size`."""
        shape = (block.in_channels, block.mid_channels, block.out_channels)
        key = (block.kind, shape, block.stride, block.stride_at, block.groups, block.shortcut, size)
        if key in self._parts:
            return self._parts[key]
        with shapes_only():
            bare = build_block(block, {})
        return self._part(key, bare, (1, block.in_channels, *size))

    def added(self, spec: AttentionSpec, channels: int, size: _Size) -> Part:
        """What `spec` adds at any site with maps of so many channels and that (height, width)."""
        key = (spec, channels, size)
        if key not in self._parts:
            with shapes_only():
                gates = build_attention_parts(spec, channels)
            # A module's text has all its settings, so that kinds share the gates they have in common.
            parts = [self._part((repr(gate), channels, size), gate, (1, channels, *size)) for gate in gates]
            self._parts[key] = sum(parts[1:], start=parts[0])
        return self._parts[key]

    def _part(self, key: Hashable, module: nn.Module, shape: tuple[int, ...]) -> Part:
        if key not in self._parts:
            self._parts[key] = Part(count_operations(module, shape), count_params(module))
        return self._parts[key]

    def _ends(self, geometry: Geometry, last_size: _Size) -> Part:
        """The stem, and the head on maps of `last_size`."""
        key = (geometry.stem, geometry.features, geometry.classes, last_size)
        if key not in self._parts:
            with shapes_only():
                network = Network(**stem_settings(geometry), stages=())
            operations = count_operations(_Method(network, "stem"), (1, geometry.stem.in_channels, *self.image_size))
            operations += count_operations(_Method(network, "head"), (1, geometry.features, *last_size))
            self._parts[key] = Part(operations, count_params(network))
        return self._parts[key]


class _Method(nn.Module):
    """One method of a network as a module of its own, so that it can be traced."""

    def __init__(self, network: Network, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = getattr(self.network, self.name)(x)
        return result


def family_map_sizes(backbone: Backbone, image_size: _Size) -> dict[str, _Size]:
    """Height and width of the map at each site of a family's network, by its name; nothing is computed for it."""
    geometry = backbone.geometry()
    size = _divided(image_size, geometry.stem.stride)
    entering, leaving = {"stem": size}, {"stem": _divided(image_size, geometry.stem.conv_stride)}
    for block in geometry.blocks:
        entering[block.name] = size
        leaving[block.name] = size = _divided(size, block.stride)
    return {site.name: (entering if site.before_stride else leaving)[site.block] for site in backbone.sites}


def _divided(size: _Size, stride: int) -> _Size:
    """Height and width after a layer of that stride: every one here rounds up."""
    return -(-size[0] // stride), -(-size[1] // stride)
