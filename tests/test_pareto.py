"""Dominance, ranks and hypervolume, against hand-worked figures and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbam_search.pareto import Axis, dominates, hypervolume, knee, ranks

ACCURACY = Axis("accuracy", True, 0.1, 1.0)
GFLOPS = Axis("gflops", False, 2.0, 0.0)
DIRECTIONS = (True, False)

points_2d = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def test_dominates_needs_one_strict_improvement() -> None:
    assert dominates((0.9, 1.0), (0.8, 1.0), DIRECTIONS)
    assert not dominates((0.9, 1.0), (0.9, 1.0), DIRECTIONS)
    assert not dominates((0.9, 1.0), (0.8, 0.5), DIRECTIONS)


@given(points_2d)
def test_ranks_are_those_of_peeling_fronts(points: list[tuple[int, int]]) -> None:
    expected = [-1] * len(points)
    rank = 0
    while -1 in expected:
        left = [index for index, value in enumerate(expected) if value == -1]
        front = [a for a in left if not any(dominates(points[b], points[a], DIRECTIONS) for b in left)]
        for index in front:
            expected[index] = rank
        rank += 1
    assert ranks(points, DIRECTIONS).tolist() == expected


def test_equal_points_share_a_rank_and_order_does_not_matter() -> None:
    points = [(0.7, 0.6), (0.9, 1.0), (0.8, 0.5), (0.9, 1.0), (0.9, 2.0)]
    assert ranks(points, DIRECTIONS).tolist() == [1, 0, 0, 0, 1]
    assert ranks(points[::-1], DIRECTIONS).tolist() == [1, 0, 0, 0, 1][::-1]


def test_no_point_has_no_rank_and_no_hypervolume() -> None:
    assert ranks([], DIRECTIONS).tolist() == []
    assert hypervolume([], (ACCURACY, GFLOPS)) == 0.0


def test_hypervolume_by_hand() -> None:
    # Normalised costs: (1/9, 0.5) and (2/9, 0.25); the union of their boxes up to (1, 1).
    expected = (1 - 1 / 9) * 0.5 + (1 - 2 / 9) * 0.25
    assert hypervolume([(0.9, 1.0), (0.8, 0.5)], (ACCURACY, GFLOPS)) == pytest.approx(expected)


def test_points_at_the_reference_add_nothing_and_beyond_the_ideal_count_as_ideal() -> None:
    assert hypervolume([(0.1, 0.1), (0.9, 2.0)], (ACCURACY, GFLOPS)) == 0.0
    latency = Axis("latency_ms", False, 10.0, 2.0)
    assert hypervolume([(1.0, 1.0)], (ACCURACY, latency)) == 1.0


@given(points_2d.filter(bool), st.tuples(st.integers(0, 6), st.integers(0, 6)))
def test_another_point_never_lowers_the_hypervolume(points: list[tuple[int, int]], extra: tuple[int, int]) -> None:
    axes = (Axis("a", True, 0.0, 6.0), Axis("b", False, 6.0, 0.0))
    before, after = hypervolume(points, axes), hypervolume([*points, extra], axes)
    assert after >= before - 1e-12
    assert 0.0 <= after <= 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        ranks([(bad, 1.0)], DIRECTIONS)
    with pytest.raises(ValueError, match="finite"):
        hypervolume([(0.5, bad)], (ACCURACY, GFLOPS))


def test_an_axis_whose_ends_are_turned_round_is_refused() -> None:
    with pytest.raises(ValueError, match="better than the reference"):
        Axis("accuracy", True, 1.0, 0.1)
    with pytest.raises(ValueError, match="differ"):
        Axis("gflops", False, 1.0, 1.0)


def test_knee_is_the_balanced_point() -> None:
    front = [(0.50, 0.1), (0.88, 0.4), (0.90, 2.0)]
    assert knee(front, DIRECTIONS) == 1
    assert knee(front[:1], DIRECTIONS) == 0


values = st.floats(0, 6, allow_nan=False).map(lambda value: round(value, 2))
spreads = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0])
timed_points = st.lists(st.tuples(st.integers(0, 4), values, spreads), min_size=1, max_size=14)


def tolerant(points: list[tuple[float, float, float]]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Points of (accuracy, latency), and how exact each value is: latencies to their spread."""
    return [(accuracy, latency) for accuracy, latency, _ in points], [(0.0, spread) for *_, spread in points]


@given(timed_points)
def test_with_tolerances_ranks_are_those_of_peeling_fronts_and_no_front_is_empty(
    points: list[tuple[int, float, float]],
) -> None:
    places, tolerances = tolerant(points)
    found = ranks(places, DIRECTIONS, tolerances)
    left = set(range(len(points)))
    for rank in range(len(points)):
        front = {
            a
            for a in left
            if not any(dominates(places[b], places[a], DIRECTIONS, np.maximum(tolerances[a], tolerances[b])) for b in left)
        }
        assert front or not left
        assert {index for index, value in enumerate(found) if value == rank} == front
        left -= front
    assert not left


@given(timed_points, st.randoms(use_true_random=False))
def test_with_tolerances_order_does_not_matter(points: list[tuple[int, float, float]], chance: object) -> None:
    order = list(range(len(points)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    places, tolerances = tolerant(points)
    shuffled = ranks([places[index] for index in order], DIRECTIONS, [tolerances[index] for index in order])
    assert shuffled.tolist() == ranks(places, DIRECTIONS, tolerances)[order].tolist()


@given(timed_points)
def test_tolerances_of_zero_change_nothing(points: list[tuple[int, float, float]]) -> None:
    places, _ = tolerant(points)
    assert ranks(places, DIRECTIONS, np.zeros((len(points), 2))).tolist() == ranks(places, DIRECTIONS).tolist()
    # One tolerance too small to matter takes the other way to the same ranks.
    barely = [(0.0, 1e-9)] * len(points)
    assert ranks(places, DIRECTIONS, barely).tolist() == ranks(places, DIRECTIONS).tolist()


def test_a_difference_within_the_larger_spread_is_a_tie() -> None:
    points = [(0.90, 3.00), (0.91, 3.04), (0.91, 3.20)]
    assert ranks(points, DIRECTIONS).tolist() == [0, 0, 1]
    # The second is as fast as the first, and better; the third is slower than the second by more than any spread.
    assert ranks(points, DIRECTIONS, [(0, 0.01), (0, 0.05), (0, 0.01)]).tolist() == [1, 0, 1]
    # Equally good and equally fast: both stay.
    assert ranks(points[1:], DIRECTIONS, [(0, 0.05), (0, 0.2)]).tolist() == [0, 0]


def test_domination_with_tolerances_need_not_be_transitive() -> None:
    points, tolerances = [(0.9, 3.0), (0.9, 3.6), (0.9, 4.2)], [(0, 0.5), (0, 0.5), (0, 1.5)]
    assert dominates(points[0], points[1], DIRECTIONS, (0, 0.5))
    assert not dominates(points[0], points[2], DIRECTIONS, (0, 1.5))
    assert ranks(points, DIRECTIONS, tolerances).tolist() == [0, 1, 0]


def test_two_tolerant_objectives_and_impossible_tolerances_are_refused() -> None:
    with pytest.raises(ValueError, match="one objective at most"):
        ranks([(1, 1), (2, 2)], DIRECTIONS, [(0.1, 0), (0, 0.1)])
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="not negative"):
            ranks([(1, 1)], DIRECTIONS, [(0, bad)])


def test_no_point_with_tolerances_has_no_rank() -> None:
    assert ranks([], DIRECTIONS, []).tolist() == []
