"""Sums of independent choices: by brute force, and by what the grid promises."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbam_search.search import distribution
from cbam_search.search.distribution import Distribution, distribution_of_sum, mixture

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def options(axes: int) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(st.integers(0, 50_000), min_size=axes, max_size=axes), min_size=1, max_size=5)


def summands(axes: int) -> st.SearchStrategy[list[tuple[list[list[int]], int]]]:
    return st.lists(st.tuples(options(axes), st.integers(1, 3)), min_size=1, max_size=3).filter(
        lambda chosen: sum(times for _, times in chosen) <= 5
    )


def all_sums(chosen: list[tuple[list[list[int]], int]]) -> list[tuple[int, ...]]:
    units = [options for options, times in chosen for _ in range(times)]
    return [tuple(map(sum, zip(*picked, strict=True))) for picked in product(*units)]


def of(chosen: list[tuple[list[list[int]], int]]) -> Distribution:
    return distribution_of_sum([(Distribution.of(np.array(values)), times) for values, times in chosen])


def quantile(sums: list[int], share: float) -> int:
    ordered = sorted(sums)
    return ordered[-(-Fraction(str(share)) * len(ordered) // 1) - 1]


@settings(deadline=None)
@given(st.integers(1, 2).flatmap(summands))
def test_few_choices_are_listed_exactly(chosen: list[tuple[list[list[int]], int]]) -> None:
    sums, found = all_sums(chosen), of(chosen)
    assert found.exact
    assert {tuple(value) for value in found.values.tolist()} == set(sums)
    for value, share in zip(found.values.tolist(), found.shares, strict=True):
        assert share == pytest.approx(sums.count(tuple(value)) / len(sums), rel=1e-12)


@settings(deadline=None)
@given(summands(1))
def test_quantiles_are_those_of_the_sorted_list(chosen: list[tuple[list[list[int]], int]]) -> None:
    sums, found = [value for (value,) in all_sums(chosen)], of(chosen)
    assert [found.quantile(share) for share in QUANTILES] == [quantile(sums, share) for share in QUANTILES]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 2).flatmap(summands), st.data())
def test_a_grid_keeps_what_it_promises(chosen: list[tuple[list[list[int]], int]], data: st.DataObject) -> None:
    """With next to nothing listed and few cells, every true share lies in the interval given, every quantile within off_by."""
    sums = all_sums(chosen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "LISTED", 1)
        patch.setattr(distribution, "CELLS", {1: 64, 2: 16})
        found = of(chosen)
    limits = data.draw(st.sampled_from(sums))
    truth = sum(all(value <= limit for value, limit in zip(entry, limits, strict=True)) for entry in sums) / len(sums)
    least, most = found.share_within(limits)
    assert least - 1e-9 <= truth <= most + 1e-9
    assert found.shares.sum() == pytest.approx(1.0, abs=1e-12)
    if len(limits) == 1:
        for share in QUANTILES:
            # The grid's own rounding of shares may pass a step of the true distribution by.
            near = [quantile([value for (value,) in sums], max(0.01, share + change)) for change in (-1e-9, 1e-9)]
            assert near[0] - found.off_by[0] <= found.quantile(share) <= near[1] + found.off_by[0]


def test_a_grid_of_whole_numbers_is_exact() -> None:
    """Sums of 200 units span fewer steps than the grid has, so nothing is rounded: the binomial distribution."""
    found = distribution_of_sum([(Distribution.of(np.array([[0], [7]])), 200)])
    assert found.exact
    assert found.quantile(0.5) == 700
    assert found.share_within([0])[0] == pytest.approx(0.5**200, abs=1e-12)
    assert found.share_within([699])[0] == pytest.approx((1 - found.shares[found.values[:, 0] == 700][0]) / 2, abs=1e-12)


def test_a_mixture_weighs_its_parts() -> None:
    one, other = Distribution.of(np.array([[0], [10]])), Distribution.of(np.array([[1]]))
    mixed = mixture([(one, np.array([100]), 0.25), (other, np.array([0]), 0.75)])
    assert mixed.share_within([1]) == (0.75, 0.75)
    assert [mixed.quantile(share) for share in (0.5, 0.75, 0.8, 0.9)] == [1, 1, 100, 110]
