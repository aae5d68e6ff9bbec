"""The architectures of a whole space that constraints leave, or a uniform sample of them, the published designs among them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import count, islice

from cbam_search.architecture import Architecture
from cbam_search.cost.cost import CostFunction
from cbam_search.errors import SpaceError
from cbam_search.search.feasibility import excess
from cbam_search.search.published import PublishedDesigns
from cbam_search.space.space import Space

LISTED_AT_MOST = 20_000
"""Larger spaces are sampled, not listed."""
_DRAWS_PER_ARCHITECTURE = 1_000
"""In a space too large to list, at most so many random draws for each architecture that is asked for."""


def feasible_architectures(
    space: Space,
    cost: CostFunction,
    bounds: Mapping[str, float],
    published: PublishedDesigns,
    *,
    limit: int | None,
    seed: int,
) -> tuple[Architecture, ...]:
    """Distinct architectures within all bounds, in an order that `seed` decides: the published designs, then the others.

    limit: at most so many; the others are then a uniform random sample without repetition. Raises SpaceError where the space is
    too large to be listed whole, where the published designs alone are more than the limit, and where constraints leave nothing
    or too little to be found.
    """
    designs = published.trained
    if limit is not None and limit < len(designs):
        raise SpaceError(
            f"--limit-architectures {limit} is less than the {len(designs)} published designs, which are always among them. "
            f"Give more, or lower search.published_backbones or search.baselines"
        )
    found = {design.digest: design for design in designs}
    total = space.count()
    draws = _DRAWS_PER_ARCHITECTURE * limit if limit is not None else total
    for drawn, index in enumerate(_indices(total, limit, seed)):
        if limit is not None and len(found) >= limit:
            break
        if drawn == draws:
            raise SpaceError(
                f"of {draws:,} random architectures only {len(found):,} were new and within the constraints. Loosen "
                f"the constraints, or give a smaller --limit-architectures"
            )
        architecture = architecture_at(space, index)
        if excess(cost(architecture), bounds) == 0:
            found.setdefault(architecture.digest, architecture)
    if not found:
        raise SpaceError("the constraints leave no architecture of the space")
    return tuple(found.values())


def architecture_at(space: Space, index: int) -> Architecture:
    """The architecture with this number, 0 to `space.count()` - 1; each distinct architecture has exactly one."""
    for backbone in space.backbones:
        options = space.options(backbone)
        size = 1
        for offered in options.values():
            size *= len(offered)
        if index < size:
            chosen = {}
            for unit, offered in options.items():
                index, place = divmod(index, len(offered))
                chosen[unit] = offered[place]
            return space.with_options(backbone, chosen)
        index -= size
    raise AssertionError("there is no architecture of this number")


def _indices(total: int, limit: int | None, seed: int) -> list[int] | islice[int]:
    """Numbers of architectures in random order: all of them where the space can be listed, else draws, which may repeat."""
    draw = random.Random(seed)
    if total <= LISTED_AT_MOST:
        return draw.sample(range(total), total)
    if limit is None:
        raise SpaceError(
            f"the space holds {total:,} distinct architectures, and a table of a whole space may have {LISTED_AT_MOST:,} at "
            f"most. --limit-architectures N trains a uniform random sample of N of them instead, fixed by the YAML's seed, the "
            f"published designs among them. Or narrow the space"
        )
    return islice((draw.randrange(total) for _ in count()), _DRAWS_PER_ARCHITECTURE * limit + 1)
