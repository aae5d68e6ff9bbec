"""What attention costs at each of its sites, over the bare backbone."""

from __future__ import annotations

from dataclasses import dataclass

from cbam_search.architecture import Architecture, AttentionSpec, Site
from cbam_search.cost.handles import CONVOLUTION, LINEAR, POOLING
from cbam_search.cost.model import CostModel, Part

PARTS = {"pooling": POOLING, "mlp": LINEAR, "convolution": CONVOLUTION}
"""Parts of an attention block that are one operator each; what is left is its gate."""


@dataclass(frozen=True)
class SiteCost:
    """What attention adds at one site.

    map_size: (height, width) of the map there. params: learned parameters. macs: multiply-adds of convolutions and linear
    layers. parts: all operations, by what they are for: `pooling` (entries read), `mlp` (products of matrices) and
    `convolution` (multiply-adds), and `gate`, everything else: norms, activations, sigmoid and the product with the map.
    """

    site: Site
    spec: AttentionSpec
    map_size: tuple[int, int]
    params: int
    macs: int
    parts: dict[str, int]


def attribute(architecture: Architecture, model: CostModel) -> tuple[SiteCost, ...]:
    """One row a site that has attention, in the order of a forward pass; they add up to the cost over the bare backbone."""
    added = model.attention(architecture)
    sizes = model.map_sizes(architecture.backbone)
    return tuple(_row(site, spec, sizes[site.name], added[site.name]) for site, spec in architecture.placed)


def _row(site: Site, spec: AttentionSpec, map_size: tuple[int, int], part: Part) -> SiteCost:
    counts = part.operations.counts
    parts = {name: counts[operator] for name, operator in PARTS.items()}
    parts["gate"] = counts.total() - sum(parts.values())
    return SiteCost(site, spec, map_size, part.params, part.operations.macs, parts)
