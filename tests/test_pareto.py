"""Dominance, ranks and hypervolume, against hand-worked figures and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
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


def test_impossible_tolerances_are_refused() -> None:
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="not negative"):
            ranks([(1, 1)], DIRECTIONS, [(0, bad)])
        with pytest.raises(ValueError, match="not negative"):
            ranks([(1, 1), (2, 2)], DIRECTIONS, [(0.1, 0.1), (0, bad)])


def test_no_point_with_tolerances_has_no_rank() -> None:
    assert ranks([], DIRECTIONS, []).tolist() == []


Uncertain = list[tuple[tuple[float, ...], tuple[float, ...]]]
"""Points with their tolerances, every objective to be minimised."""

CIRCLE_OF_THREE: Uncertain = [((0, 1, 2), (1, 1, 1)), ((1, 2, 0), (1, 1, 1)), ((2, 0, 1), (1, 1, 1))]
"""The second dominates the first, the third the second, the first the third: better by 2 once, and worse by 1 twice."""

CIRCLE_OF_FOUR: Uncertain = [((2, 0), (0, 0)), ((1, 1), (0, 1)), ((0, 2), (0, 0)), ((1, 1), (1, 0))]
"""Each dominates the one before it, two by the first objective and two by the second. One point is tolerant on each."""


def uncertain_points(circle: Uncertain) -> st.SearchStrategy[Uncertain]:
    """Few values, so that ties and differences of just the tolerance are common; half of the time around a circle."""
    width = len(circle[0][0])
    value = st.integers(0, 4).map(float)
    spread = st.sampled_from([0.0, 0.0, 1.0, 2.0])
    point = st.tuples(st.tuples(*[value] * width), st.tuples(*[spread] * width))
    return st.builds(lambda points, more: points + more, st.lists(point, min_size=1, max_size=8), st.sampled_from([[], circle]))


uncertain = st.sampled_from([CIRCLE_OF_THREE, CIRCLE_OF_FOUR]).flatmap(uncertain_points)


def ranks_of(points: Uncertain) -> list[int]:
    places, tolerances = zip(*points, strict=True)
    return ranks(places, [False] * len(places[0]), tolerances).tolist()


def slow_ranks(points: Uncertain) -> list[int]:
    """By the transitive closure of domination, and the longest chain of circles that leads to each point."""
    every = range(len(points))
    minimise = [False] * len(points[0][0])
    first = [
        [dominates(points[a][0], points[b][0], minimise, np.maximum(points[a][1], points[b][1])) for b in every] for a in every
    ]
    leads = [list(row) for row in first]
    for middle in every:
        for a in every:
            for b in every:
                leads[a][b] = leads[a][b] or (leads[a][middle] and leads[middle][b])
    circle = [frozenset(b for b in every if b == a or (leads[a][b] and leads[b][a])) for a in every]

    def longest(members: frozenset[int]) -> int:
        before = {circle[a] for a in every for b in members if first[a][b]} - {members}
        return max((longest(other) + 1 for other in before), default=0)

    return [longest(members) for members in circle]


def test_points_that_dominate_one_another_in_a_circle_share_a_rank() -> None:
    assert ranks_of(CIRCLE_OF_THREE[:2]) == [1, 0]
    assert ranks_of(CIRCLE_OF_THREE) == [0, 0, 0]
    # Dominated by the first and the third of the circle, not by the second.
    behind = ((2, 0, 3), (1, 1, 1))
    assert ranks_of([*CIRCLE_OF_THREE, behind]) == [0, 0, 0, 1]
    # Whoever dominates one of the circle stands before all of it: this point and the first of the circle tie.
    before = ((2, 0, -1), (1, 1, 1))
    assert ranks_of([before, CIRCLE_OF_THREE[0]]) == [0, 0]
    assert ranks_of([before, CIRCLE_OF_THREE[2]]) == [0, 1]
    assert ranks_of([*CIRCLE_OF_THREE, behind, before]) == [1, 1, 1, 2, 0]


def test_tolerances_of_different_points_on_different_objectives_make_a_circle_too() -> None:
    assert ranks_of(CIRCLE_OF_FOUR[:3]) == [2, 1, 0]
    assert ranks_of(CIRCLE_OF_FOUR) == [0, 0, 0, 0]
    assert ranks_of([*CIRCLE_OF_FOUR, ((2, 2), (0, 0))]) == [0, 0, 0, 0, 1]
    # No circle, though each objective is uncertain in one point.
    assert ranks([(1, 1), (2, 2)], DIRECTIONS, [(0.1, 0), (0, 0.1)]).tolist() == [0, 0]


@settings(deadline=None)
@given(uncertain)
@example(CIRCLE_OF_THREE)
@example([*CIRCLE_OF_FOUR, ((3.0, 3.0), (0.0, 0.0)), *CIRCLE_OF_FOUR])
def test_with_several_tolerant_objectives_ranks_are_those_of_a_slow_count_and_no_front_is_empty(points: Uncertain) -> None:
    found = ranks_of(points)
    assert found == slow_ranks(points)
    assert set(found) == set(range(max(found) + 1))


@given(timed_points)
def test_one_tolerant_objective_is_ranked_as_before_where_others_are_tolerant_but_never_differ(
    points: list[tuple[int, float, float]],
) -> None:
    places, tolerances = tolerant(points)
    # Columns in which all points are equal leave domination as it is, and take the way of several tolerant objectives.
    more_places = [(*place, 0.0, 0.0) for place in places]
    more_tolerances = [(*tolerance, 1.0, 1.0) for tolerance in tolerances]
    expected = ranks(places, DIRECTIONS, tolerances).tolist()
    assert ranks(more_places, (*DIRECTIONS, True, False), more_tolerances).tolist() == expected


@settings(deadline=None)
@given(uncertain.filter(lambda points: len(points) > 1), st.data())
def test_with_several_tolerant_objectives_order_does_not_matter(points: Uncertain, data: st.DataObject) -> None:
    straight = list(range(len(points)))
    order = data.draw(st.permutations(straight).filter(lambda order: order != straight))
    found = ranks_of(points)
    assert ranks_of([points[index] for index in order]) == [found[index] for index in order]


@settings(deadline=None)
@given(uncertain)
@example(CIRCLE_OF_FOUR)
def test_with_several_tolerant_objectives_equal_points_of_equal_tolerance_have_equal_ranks(points: Uncertain) -> None:
    assert ranks_of(points + points) == ranks_of(points) * 2


def test_more_than_a_thousand_points_are_ranked_piece_by_piece() -> None:
    chance = np.random.default_rng(0)
    places, tolerances = chance.random((1500, 3)), np.zeros((1500, 3))
    exact = ranks(places, (True, False, False))
    # Too small to matter, and several.
    assert ranks(places, (True, False, False), tolerances + 1e-12).tolist() == exact.tolist()
    tolerances[:3] = 5.0
    assert ranks(places, (True, False, False), tolerances)[:3].tolist() == [0, 0, 0]
