"""The published designs that every search is measured against: bare, and one kind at every site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cbam_search.architecture import Architecture, published
from cbam_search.cost.cost import CostFunction
from cbam_search.search.evenly_spaced import evenly_spaced
from cbam_search.search.feasibility import excess
from cbam_search.space.space import Space


@dataclass(frozen=True)
class PublishedDesigns:
    """The designs that are trained beside the search, and those that its constraints exclude."""

    trained: tuple[Architecture, ...]
    excluded: tuple[Architecture, ...]


def published_designs(
    space: Space,
    kinds: Sequence[str],
    *,
    at_most_backbones: int,
    cost: CostFunction,
    bounds: Mapping[str, float],
) -> PublishedDesigns:
    """Each kind (`none` is the bare network) on each distinct backbone, up to `at_most_backbones` of them."""
    by_cost = sorted(space.backbones, key=lambda entry: cost(published(entry, None)).gflops)
    backbones = [by_cost[index] for index in evenly_spaced(len(by_cost), at_most_backbones)]
    designs = [published(backbone, None if kind == "none" else kind) for backbone in backbones for kind in kinds]
    feasible = {design.digest: excess(cost(design), bounds) == 0 for design in designs}
    return PublishedDesigns(
        trained=tuple(design for design in designs if feasible[design.digest]),
        excluded=tuple(design for design in designs if not feasible[design.digest]),
    )
