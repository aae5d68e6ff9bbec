"""Point by point, the same ranks and the same front as from all points at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbam_search import pareto
from cbam_search.pareto_growing import GrowingFront, GrowingRanks

few = st.integers(0, 4).map(float)
exact_points = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[few] * width), min_size=1, max_size=24))
timed_points = st.lists(
    st.tuples(
        st.integers(0, 3), st.floats(0, 4).map(lambda value: round(value, 1)), st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0])
    ),
    min_size=1,
    max_size=24,
)
"""(accuracy, latency, spread): the latency is exact to its spread."""


Uncertain = list[tuple[tuple[float, ...], tuple[float, ...]]]
"""Points with their tolerances, every objective to be minimised."""

CIRCLE_OF_THREE: Uncertain = [((0, 1, 2), (1, 1, 1)), ((1, 2, 0), (1, 1, 1)), ((2, 0, 1), (1, 1, 1))]
CIRCLE_OF_FOUR: Uncertain = [((2, 0), (0, 0)), ((1, 1), (0, 1)), ((0, 2), (0, 0)), ((1, 1), (1, 0))]
"""In both, each point dominates the one before it; in the second, one point is tolerant on each objective."""


def uncertain_points(circle: Uncertain) -> st.SearchStrategy[Uncertain]:
    """Half of the time with the circle among them, in any order."""
    width = len(circle[0][0])
    point = st.tuples(st.tuples(*[few] * width), st.tuples(*[st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0])] * width))
    points = st.builds(lambda some, more: some + more, st.lists(point, min_size=1, max_size=12), st.sampled_from([[], circle]))
    return points.flatmap(st.permutations)


uncertain = st.sampled_from([CIRCLE_OF_THREE, CIRCLE_OF_FOUR]).flatmap(uncertain_points)


def directions(points: list[tuple[float, ...]]) -> list[bool]:
    return [index == 0 for index in range(len(points[0]))]


@settings(deadline=None)
@given(exact_points, st.integers(0, 24))
def test_ranks_of_exact_points_are_those_of_all_at_once(points: list[tuple[float, ...]], at_once: int) -> None:
    maximise = directions(points)
    growing = GrowingRanks(maximise)
    growing.extend(points[:at_once], np.zeros((len(points[:at_once]), len(maximise))))
    for count, point in enumerate(points[at_once:], start=len(points[:at_once]) + 1):
        growing.add(point)
        assert growing.ranks.tolist() == pareto.ranks(points[:count], maximise).tolist()


@settings(deadline=None)
@given(timed_points, st.integers(0, 24))
def test_ranks_with_tolerances_are_those_of_all_at_once(points: list[tuple[int, float, float]], at_once: int) -> None:
    values = np.array([point[:2] for point in points])
    tolerances = np.array([(0.0, spread) for *_, spread in points])
    growing = GrowingRanks([True, False])
    growing.extend(values[:at_once], tolerances[:at_once])
    for count in range(at_once + 1, len(points) + 1):
        growing.add(values[count - 1], tolerances[count - 1])
        assert growing.ranks.tolist() == pareto.ranks(values[:count], [True, False], tolerances[:count]).tolist()


@settings(deadline=None)
@given(timed_points)
def test_the_front_is_of_rank_0_and_says_when_it_changes(points: list[tuple[int, float, float]]) -> None:
    values = np.array([point[:2] for point in points])
    tolerances = np.array([(0.0, spread) for *_, spread in points])
    for exact_to in (tolerances, np.zeros_like(tolerances)):
        front = GrowingFront([True, False])
        before: list[int] = []
        for count in range(1, len(points) + 1):
            changed = front.add(values[count - 1], exact_to[count - 1])
            after = np.flatnonzero(pareto.ranks(values[:count], [True, False], exact_to[:count]) == 0).tolist()
            assert front.members.tolist() == after
            assert changed == (after != before)
            before = after


def shown(points: Uncertain) -> tuple[np.ndarray, np.ndarray]:
    """Values, the first of each point to be maximised, and tolerances."""
    values, tolerances = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    values[:, 0] *= -1
    return values, tolerances


@settings(deadline=None)
@given(uncertain, st.integers(0, 16), st.integers(0, 16))
def test_ranks_with_several_tolerant_objectives_are_those_of_all_at_once(
    points: Uncertain, at_once: int, and_then: int
) -> None:
    values, tolerances = shown(points)
    maximise = directions(values.tolist())
    growing = GrowingRanks(maximise)
    for first, last in ((0, at_once), (at_once, at_once + and_then)):
        growing.extend(values[first:last], tolerances[first:last])
        expected = pareto.ranks(values[:last], maximise, tolerances[:last])
        assert growing.ranks.tolist() == expected.tolist()
    for count in range(at_once + and_then + 1, len(points) + 1):
        growing.add(values[count - 1], tolerances[count - 1])
        assert growing.ranks.tolist() == pareto.ranks(values[:count], maximise, tolerances[:count]).tolist()


@settings(deadline=None)
@given(uncertain)
def test_the_front_with_several_tolerant_objectives_is_of_rank_0_and_says_when_it_changes(points: Uncertain) -> None:
    values, tolerances = shown(points)
    maximise = directions(values.tolist())
    front = GrowingFront(maximise)
    before: list[int] = []
    for count in range(1, len(points) + 1):
        changed = front.add(values[count - 1], tolerances[count - 1])
        after = np.flatnonzero(pareto.ranks(values[:count], maximise, tolerances[:count]) == 0).tolist()
        assert front.members.tolist() == after
        assert changed == (after != before)
        before = after


def test_whoever_closes_a_circle_brings_all_of_it_back_to_the_front() -> None:
    growing, front = GrowingRanks([False] * 3), GrowingFront([False] * 3)
    expected = (([0], [0]), ([1, 0], [1]), ([0, 0, 0], [0, 1, 2]))
    for (point, tolerance), (ranks, members) in zip(CIRCLE_OF_THREE, expected, strict=True):
        growing.add(point, tolerance)
        assert growing.ranks.tolist() == ranks
        assert front.add(point, tolerance)
        assert front.members.tolist() == members
    # Dominated by the first and the third.
    growing.add((2, 0, 3), 1.0)
    assert growing.ranks.tolist() == [0, 0, 0, 1]
    assert not front.add((2, 0, 3), 1.0)


def test_one_point_tolerant_on_each_objective_is_enough_for_a_circle() -> None:
    growing, front = GrowingRanks([False, False]), GrowingFront([False, False])
    for point, tolerance in CIRCLE_OF_FOUR:
        growing.add(point, tolerance)
        front.add(point, tolerance)
    assert growing.ranks.tolist() == [0, 0, 0, 0]
    assert front.members.tolist() == [0, 1, 2, 3]


def test_hundreds_of_points_outgrow_the_first_arrays() -> None:
    points = np.random.default_rng(0).random((300, 3))
    growing, front = GrowingRanks([True, False, False]), GrowingFront([True, False, False])
    for point in points:
        growing.add(point)
        front.add(point)
    expected = pareto.ranks(points, [True, False, False])
    assert growing.ranks.tolist() == expected.tolist()
    assert front.members.tolist() == np.flatnonzero(expected == 0).tolist()


def test_an_exact_front_compares_a_point_with_its_members_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    front = GrowingFront([True, False])
    compared: list[int] = []
    dominators = front._points.dominators

    def counted(index: int, among: np.ndarray) -> np.ndarray:
        compared.append(len(among))
        return dominators(index, among)

    monkeypatch.setattr(front._points, "dominators", counted)
    for point in np.random.default_rng(1).random((400, 2)):
        front.add(point)
    assert len(compared) == len(front) == 400
    assert max(compared) < 30


@pytest.mark.parametrize("bad", [(np.nan, 1.0), (np.inf, 1.0)])
def test_values_that_are_not_finite_are_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        GrowingRanks([True, False]).add(bad)
    with pytest.raises(ValueError, match="finite"):
        GrowingFront([True, False]).add((1.0, 1.0), (0.0, np.nan))


@pytest.mark.parametrize("before", [0, 1])
def test_points_that_cannot_all_be_ranked_are_not_taken(before: int) -> None:
    growing = GrowingRanks([True, False])
    growing.extend([(1.0, 1.0)] * before, [(0.1, 0.1)] * before)
    with pytest.raises(ValueError, match="not negative"):
        growing.extend([(2.0, 2.0), (3.0, 3.0)], [(0.1, 0.1), (0.0, -1.0)])
    with pytest.raises(ValueError, match="finite"):
        growing.extend([(2.0, 2.0), (3.0, np.nan)], [(0.1, 0.1), (0.0, 0.0)])
    assert growing.ranks.tolist() == [0] * before
