"""Attention in trained weights: it starts as its input times a constant, and the layers around it take that off again.

A batch norm before attention takes the constant off in its weight and bias, a convolution after it in its weight. What is left
are shortcuts without a layer of their own: attention there (`identity`) or after the addition (`post`, `stage_end`) changes the
scale of everything that follows along them. The branches that join are brought to that scale by their last batch norm, and
whatever leaves the shortcuts (a branch's first convolution, a projection, the linear layer of the head) takes it off. Max
pooling, ReLU and average pooling keep a scale, so that the network computes what it would without attention, at any position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from cbam_search.architecture import Architecture, AttentionSpec, Backbone, BlockGeometry, Geometry
from cbam_search.attention.registry import build_attention, start_as_identity
from cbam_search.errors import ArchitectureError

SCALE_WITHIN = (0.5, 2.0)
"""A batch norm that is scaled by s learns 1 / s**2 times as fast, relative to its weights: 4 times at one half."""

Constants = Mapping[str, float]
"""By name of site; 1 where a site is not named."""


@dataclass(frozen=True)
class BlockScale:
    """Scales of a block's maps, over those of the same network without attention.

    enters: of what enters the block. joined: of what the addition gives, where there is one. leaves: of what leaves the block.
    """

    block: BlockGeometry
    enters: float
    joined: float
    leaves: float


def block_scales(geometry: Geometry, constants: Constants) -> tuple[BlockScale, ...]:
    """The scales along the blocks, in their order."""
    scales: list[BlockScale] = []
    scale = 1.0
    for block in geometry.blocks:
        passed_on = block.shortcut in ("identity", "padding")
        joined = scale * _constant(constants, block, "identity") if passed_on else 1.0
        leaves = 1.0 if block.kind == "separable" else joined * _constant(constants, block, "post")
        scales.append(BlockScale(block, scale, joined, leaves))
        scale = leaves
    return tuple(scales)


def start_attention_as_identity(network: nn.Module, architecture: Architecture) -> None:
    """Set all attention of `network`, built of `architecture`, to start as the identity, and compensate for its constants.

    In place; the outputs are then those of the network without attention, up to rounding. Raises ArchitectureError for a kind
    that cannot start so.
    """
    assert isinstance(architecture.backbone, Backbone)
    geometry = architecture.backbone.geometry()
    constants = {
        site.name: start_as_identity(network.get_submodule(_module_name(site.block, site.positions[0], geometry)))
        for site, _ in architecture.placed
    }
    with torch.no_grad():
        _compensate(network, geometry, constants)


def check_identity_start(architecture: Architecture) -> None:
    """Raises ArchitectureError where attention would start by shrinking or swelling a shortcut beyond SCALE_WITHIN."""
    assert isinstance(architecture.backbone, Backbone)
    constants = {site.name: starting_constant(spec) for site, spec in architecture.placed}
    joined = [entry.joined for entry in block_scales(architecture.backbone.geometry(), constants)]
    worst = max(joined, key=lambda scale: max(scale, 1 / scale))
    if not SCALE_WITHIN[0] <= worst <= SCALE_WITHIN[1]:
        kinds = sorted({f"{spec.kind} as {starting_constant(spec):.3g}" for _, spec in architecture.placed})
        raise ArchitectureError(
            f"attention starts as a multiple of its input ({', '.join(kinds)} times), and along the shortcuts of "
            f"{architecture.backbone.name} these multiply to {worst:.2g}; {SCALE_WITHIN[0]:g} to {SCALE_WITHIN[1]:g} is allowed"
        )


@lru_cache(maxsize=1024)
def starting_constant(spec: AttentionSpec) -> float:
    """What the module of `spec` multiplies its input by when it starts as the identity; the channels make no difference."""
    return start_as_identity(build_attention(spec, channels=8))


def _compensate(network: nn.Module, geometry: Geometry, constants: Constants) -> None:
    _divide(network.get_submodule("bn1"), constants.get("stem", 1.0))
    scales = block_scales(geometry, constants)
    for entry in scales:
        block = network.get_submodule(_module_name(entry.block.name, "", geometry))
        if entry.block.kind == "separable":
            _compensate_separable(block, entry, constants)
        else:
            _compensate_residual(block, entry, constants)
    head = network.get_submodule("fc")
    assert isinstance(head.weight, Tensor)
    head.weight.div_(scales[-1].leaves)


def _compensate_residual(block: nn.Module, entry: BlockScale, constants: Constants) -> None:
    pre, branch_end, identity = (_constant(constants, entry.block, place) for place in ("pre", "branch_end", "identity"))
    _divide(block.get_submodule("conv1"), entry.enters * pre)
    _divide(block.get_submodule("bn2" if entry.block.kind == "basic" else "bn3"), branch_end / entry.joined)
    if entry.block.shortcut == "projection":
        _divide(block.get_submodule("downsample.0"), entry.enters)
        _divide(block.get_submodule("downsample.1"), identity)


def _compensate_separable(block: nn.Module, entry: BlockScale, constants: Constants) -> None:
    depthwise, pointwise, post = (_constant(constants, entry.block, place) for place in ("depthwise", "pointwise", "post"))
    _divide(block.get_submodule("bn1"), depthwise)
    _divide(block.get_submodule("bn2"), pointwise * post)


def _divide(layer: nn.Module, by: float) -> None:
    """Divide what a batch norm or a convolution gives; its weights stay the very same where there is nothing to divide by."""
    if by != 1.0:
        for parameter in layer.parameters():
            parameter.div_(by)


def _constant(constants: Constants, block: BlockGeometry, place: str) -> float:
    return constants.get(f"{block.name}.{place}", 1.0)


def _module_name(block: str, place: str, geometry: Geometry) -> str:
    """Name of the submodule of a place, or of a block: `layer1.0.branch_end`, `layer1.0`, `stem_attention`."""
    if block == "stem":
        return "stem_attention"
    found = next(entry for entry in geometry.blocks if entry.name == block)
    name = f"layer{found.stage + 1}.{found.block}"
    return f"{name}.{place}" if place else name
