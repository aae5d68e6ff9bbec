"""Whole spaces and samples of them: every architecture once, the same for a seed, the published designs first."""

from __future__ import annotations

from collections import Counter

import pytest
from studies import space_of

from cbam_search.cost.model import CostModel
from cbam_search.errors import SpaceError
from cbam_search.search import whole_space
from cbam_search.search.published import PublishedDesigns, published_designs
from cbam_search.search.whole_space import architecture_at, feasible_architectures
from cbam_search.space.space import Space

COST = CostModel((8, 8)).cost
SMALL = {"kind": ["none", "se"], "reduction_ratio": [4]}
"""Four backbones of three stages: 4 * 2**3 architectures."""


def designs_of(space: Space, bounds: dict[str, float] | None = None) -> PublishedDesigns:
    return published_designs(space, ["none", "se"], at_most_backbones=2, cost=COST, bounds=bounds or {})


def test_every_number_is_another_architecture_of_the_space() -> None:
    space = space_of(kind=["none", "se", "cbam"], position=["branch_end", "pre"])
    numbered = {architecture_at(space, index).digest for index in range(space.count())}
    assert numbered == {architecture.digest for architecture in space.enumerate()}


def test_a_whole_space_has_each_architecture_once_and_the_published_designs_first() -> None:
    space = space_of(**SMALL)
    designs = designs_of(space)
    found = feasible_architectures(space, COST, {}, designs, limit=None, seed=0)
    assert found[:4] == designs.trained
    # As published, SE has r = 16: of these two designs the space, where r is 4, has none.
    outside = [design for design in designs.trained if space.encode(design) is None]
    assert len(outside) == 2
    assert Counter(architecture.digest for architecture in found) == Counter(
        architecture.digest for architecture in (*space.enumerate(), *outside)
    )


def test_the_seed_decides_the_order_and_the_sample() -> None:
    space = space_of(**SMALL)
    designs = designs_of(space)
    first, second, other = (feasible_architectures(space, COST, {}, designs, limit=12, seed=seed) for seed in (3, 3, 4))
    assert first == second
    assert first != other
    assert len({architecture.digest for architecture in first}) == 12
    assert set(designs.trained) <= set(first)


def test_constraints_leave_out_what_would_never_be_trained() -> None:
    space = space_of(**SMALL)
    bounds = {"gflops": 1e-4}
    designs = designs_of(space, bounds)
    found = feasible_architectures(space, COST, bounds, designs, limit=None, seed=0)
    assert designs.excluded
    assert 0 < len(found) < space.count()
    assert all(COST(architecture).gflops <= 1e-4 for architecture in found)
    with pytest.raises(SpaceError, match="leave no architecture"):
        feasible_architectures(space, COST, {"params": 1.0}, designs_of(space, {"params": 1.0}), limit=None, seed=0)


def test_a_sample_of_a_space_too_large_to_list_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_space, "LISTED_AT_MOST", 10)
    space = space_of(**SMALL)
    nothing = PublishedDesigns((), ())
    drawn = Counter(
        architecture.digest
        for seed in range(400)
        for architecture in feasible_architectures(space, COST, {}, nothing, limit=8, seed=seed)
    )
    # Each of 32 is in 100 of 400 samples, give or take 9.
    assert len(drawn) == 32
    assert 60 < min(drawn.values()) <= max(drawn.values()) < 140


def test_what_is_too_large_says_how_many_there_are_and_what_would_help() -> None:
    space = space_of(per="block", reduction_ratio=[2, 4, 8], pools={"from": ["avg", "max"]})
    with pytest.raises(
        SpaceError, match=rf"{space.count():,} distinct architectures.*--limit-architectures N trains a uniform"
    ):
        feasible_architectures(space, COST, {}, designs_of(space), limit=None, seed=0)
    assert len(feasible_architectures(space, COST, {}, designs_of(space), limit=50, seed=0)) == 50
    with pytest.raises(SpaceError, match="less than the 4 published designs"):
        feasible_architectures(space, COST, {}, designs_of(space), limit=3, seed=0)
    with pytest.raises(SpaceError, match="Loosen the constraints"):
        feasible_architectures(space, COST, {"gflops": 1e-6}, PublishedDesigns((), ()), limit=2, seed=0)
