"""What the architectures of a whole space cost, each distinct one counted once, however many there are.

The cost of an architecture is that of its bare backbone and, independently, of what it has in each unit; so over a backbone's
architectures it is distributed as a sum of independent choices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from cbam_search.architecture import AnyBackbone, published
from cbam_search.cost.cost import GIGA
from cbam_search.cost.model import CostModel
from cbam_search.search.distribution import Distribution, IntArray, distribution_of_sum, mixture
from cbam_search.space.space import Space, UnitOption

SCALES = {"gflops": GIGA, "params": 1.0}
"""Whole numbers (multiply-adds, parameters) in one unit of each axis."""
AXES = tuple(SCALES)
_Place = tuple[int, tuple[str, ...], tuple[int, int]]
"""Channels, positions and (height, width) of the map at a site."""


@dataclass(frozen=True)
class BackboneCosts:
    """Costs of the architectures on one backbone.

    count: number of distinct architectures.
    bare: (2,), multiply-adds and parameters of the backbone alone.
    added: what the options of one unit add to both, and the number of units with just these options.
    """

    backbone: AnyBackbone
    count: int
    bare: IntArray
    added: tuple[tuple[Distribution, int], ...]

    def range(self, name: str) -> tuple[float, float]:
        """Smallest and largest, exact."""
        axis = AXES.index(name)
        ends = [sum(int(pick(unit.values[:, axis])) * times for unit, times in self.added) for pick in (np.min, np.max)]
        low, high = ((int(self.bare[axis]) + end) / SCALES[name] for end in ends)
        return low, high

    def distribution(self, name: str) -> Distribution:
        """What attention adds along one axis, in whole numbers."""
        axis = AXES.index(name)
        return distribution_of_sum([(unit.axis(axis), times) for unit, times in self.added])

    def share_within(self, bounds: Mapping[str, float]) -> tuple[float, float]:
        """The least and the most that the share of architectures within all bounds can be; equal where it is exact."""
        if any(self.range(name)[0] > bound for name, bound in bounds.items()):
            return 0.0, 0.0
        cutting = [name for name, bound in bounds.items() if self.range(name)[1] > bound]
        limits = {name: _whole(name, bounds[name]) - int(self.bare[AXES.index(name)]) for name in cutting}
        alone = [self.distribution(name).share_within([limit]) for name, limit in limits.items()]
        if len(alone) < 2:
            return alone[0] if alone else (1.0, 1.0)
        least, most = distribution_of_sum(self.added).share_within([limits[name] for name in AXES])
        # Fréchet's bounds hold whatever the two have to do with each other; with few exact values they can be the tighter ones.
        return max(least, alone[0][0] + alone[1][0] - 1.0), min(most, alone[0][1], alone[1][1])


@dataclass(frozen=True)
class SpaceCosts:
    """Costs of all architectures of a space, by backbone in the space's order."""

    backbones: tuple[BackboneCosts, ...]

    @cached_property
    def count(self) -> int:
        return sum(entry.count for entry in self.backbones)

    def range(self, name: str) -> tuple[float, float]:
        """Smallest and largest, exact."""
        lows, highs = zip(*(entry.range(name) for entry in self.backbones), strict=True)
        return min(lows), max(highs)

    def quantiles(self, name: str, shares: tuple[float, ...]) -> tuple[tuple[float, ...], float]:
        """The smallest values that these shares of the architectures do not exceed, and by how much they may be off."""
        axis = AXES.index(name)
        whole = mixture((entry.distribution(name), entry.bare[[axis]], entry.count / self.count) for entry in self.backbones)
        return tuple(whole.quantile(share) / SCALES[name] for share in shares), float(whole.off_by[0]) / SCALES[name]

    def share_within(self, bounds: Mapping[str, float]) -> tuple[float, float]:
        """The least and the most that the share of architectures within all bounds can be; equal where it is exact."""
        shares = [(entry.count / self.count, entry.share_within(bounds)) for entry in self.backbones]
        least, most = (sum(weight * share[end] for weight, share in shares) for end in (0, 1))
        return least, most


def space_costs(space: Space, cost: CostModel) -> SpaceCosts:
    """Costs of all architectures of the space; units whose blocks are alike and see maps of one size are computed once."""
    known: dict[tuple[_Place, ...], Distribution] = {}
    return SpaceCosts(tuple(_backbone_costs(space, backbone, cost, known) for backbone in space.backbones))


def _backbone_costs(
    space: Space, backbone: AnyBackbone, cost: CostModel, known: dict[tuple[_Place, ...], Distribution]
) -> BackboneCosts:
    whole = cost.cost(published(backbone, None))
    sizes = cost.map_sizes(backbone)
    options = space.options(backbone)
    alike: Counter[tuple[_Place, ...]] = Counter()
    for unit, offered in options.items():
        sites = space.sites_of(backbone, unit)
        # All that the options of a unit and their costs depend on.
        place = tuple((site.channels, site.positions, sizes[site.name]) for site in sites)
        alike[place] += 1
        if place not in known:
            known[place] = Distribution.of(np.array([_added(cost, place, option) for option in offered]))
    added = tuple((known[place], times) for place, times in alike.items())
    bare = np.array([whole.macs, whole.params], dtype=np.int64)
    return BackboneCosts(backbone, prod(map(len, options.values())), bare, added)


def _added(cost: CostModel, place: Sequence[_Place], option: UnitOption) -> tuple[int, int]:
    """Multiply-adds and parameters of what a unit has at its sites."""
    placed = zip(place, option, strict=True)
    parts = [cost.added(spec, channels, size) for (channels, _, size), spec in placed if spec is not None]
    return sum(part.operations.macs for part in parts), sum(part.params for part in parts)


def _whole(name: str, bound: float) -> int:
    """The largest whole number within `bound`, by the comparison that `excess` makes."""
    number = int(bound * SCALES[name]) + 2
    while number / SCALES[name] / bound - 1.0 > 0.0:
        number -= 1
    return number
