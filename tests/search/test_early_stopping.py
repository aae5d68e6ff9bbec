"""The verdict at a rung, as a function of what is recorded there."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cbam_search import pareto
from cbam_search.metrics import LATENCY
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.search.early_stopping import RungRecord, reason_to_stop, rung_levels

ACCURACY = ObjectiveAxis(name="accuracy", direction="max", reference=0.1, ideal=1.0)
GFLOPS = ObjectiveAxis(name="gflops", direction="min", reference=1.0, ideal=0.0)
AXES = (ACCURACY, GFLOPS)
MAXIMISE = [True, False]


def record(trial: int, *values: float, **more: object) -> RungRecord:
    return RungRecord(trial, values, (0.0,) * len(values), **more)  # type: ignore[arg-type]


def rung_of(*points: tuple[float, float]) -> list[RungRecord]:
    return [record(number, *values) for number, values in enumerate(points)]


def going_on(rung: list[RungRecord], axes: tuple[ObjectiveAxis, ...] = AXES, factor: int = 3) -> set[int]:
    """The trials that would go on, were each judged among all of them."""
    return {entry.trial for entry in rung if reason_to_stop(rung, entry, axes, factor) is None}


@pytest.mark.parametrize(
    ("grace_period", "factor", "epochs", "levels"),
    [
        (3, 3, 27, (3, 9)),
        (3, 3, 28, (3, 9, 27)),
        (3, 3, 3, ()),
        (1, 2, 9, (1, 2, 4, 8)),
        (5, 4, 6, (5,)),
    ],
)
def test_rungs_are_below_the_full_budget(grace_period: int, factor: int, epochs: int, levels: tuple[int, ...]) -> None:
    assert rung_levels(grace_period, factor, epochs) == levels


@pytest.mark.parametrize("order", list(itertools.permutations(range(6)))[::7])
def test_whoever_dominates_goes_on_and_the_order_is_nothing(order: tuple[int, ...]) -> None:
    """Permutations that are not the identity: a rank is not an index."""
    points = [(0.9, 0.1), (0.5, 0.5), (0.8, 0.2), (0.4, 0.6), (0.3, 0.7), (0.2, 0.9)]
    rung = rung_of(*(points[index] for index in order))
    best = {order.index(0), order.index(2)}
    assert going_on(rung) == best
    assert going_on(rung[::-1]) == best


def test_of_too_few_to_compare_everyone_goes_on() -> None:
    rung = rung_of((0.9, 0.1), (0.11, 0.9))
    assert going_on(rung, factor=3) == {0, 1}
    assert going_on(rung, factor=2) == {0}


def test_an_overfull_first_rank_is_settled_by_hypervolume() -> None:
    """Two places, six incomparable trials: the two that together dominate most, found by trying all pairs, and no trial that
    hardly adds to them.
    """
    points = [(0.4999, 0.0999), (0.5, 0.1), (0.5002, 0.1001), (0.8, 0.4), (0.8001, 0.4005), (0.8002, 0.99)]
    assert pareto.ranks(points, MAXIMISE).tolist() == [0] * 6
    axes = [entry.axis() for entry in AXES]
    best = max(itertools.combinations(range(6), 2), key=lambda pair: pareto.hypervolume([points[i] for i in pair], axes))  # type: ignore[misc]
    assert best == (2, 3)
    assert going_on(rung_of(*points)) == set(best)


def test_a_notable_part_of_the_front_goes_on_whatever_the_places() -> None:
    """One place, four incomparable trials that are far apart, one of them at chance, and two that are dominated."""
    points = [(0.3, 0.1), (0.6, 0.3), (0.8, 0.8), (0.1, 0.01), (0.55, 0.35), (0.2, 0.9)]
    assert pareto.ranks(points, MAXIMISE).tolist()[:4] == [0] * 4
    assert going_on(rung_of(*points), factor=6) == {0, 1, 2}


def test_the_cheapest_is_not_kept_for_being_cheap() -> None:
    """At chance it is of rank 0 all the same, and there are places enough in it."""
    points = [(0.1, 0.01), (0.6, 0.5), (0.5, 0.6), (0.4, 0.7), (0.3, 0.8), (0.2, 0.9)]
    assert pareto.ranks(points, MAXIMISE)[0] == 0
    assert going_on(rung_of(*points)) == {1, 2}


def test_among_those_at_chance_cost_is_no_merit() -> None:
    rung = rung_of((0.05, 0.1), (0.1, 0.9), (0.08, 0.2), (0.02, 0.1), (0.0, 0.1), (0.01, 0.1))
    assert going_on(rung) == {1, 2}


def test_where_nobody_has_learned_anything_nobody_is_stopped() -> None:
    assert going_on(rung_of(*[(0.1, cost / 10) for cost in range(1, 9)])) == set(range(8))


def test_feasible_ones_come_first() -> None:
    rung = [
        record(0, 0.9, 0.1, excess=0.5),
        record(1, 0.1, 0.9),
        record(2, 0.3, 0.5),
        *(record(number, 0.8, 0.1, excess=1.0 + number) for number in range(3, 9)),
    ]
    assert going_on(rung) == {0, 1, 2}
    assert going_on(rung[:6]) == {1, 2}


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite_stops_and_is_not_counted(value: float) -> None:
    rung = [record(0, value, 0.1), record(1, 0.5, 0.5), record(2, 0.4, 0.6)]
    assert reason_to_stop(rung, rung[0], AXES, 3) == "accuracy not finite"
    assert going_on(rung) == {1, 2}
    assert "accuracy" in (reason_to_stop(rung[:1], rung[0], AXES, 3) or "")


def test_exempt_trials_go_on_and_count() -> None:
    rung = [record(0, 0.2, 0.9, exempt=True), record(1, 0.5, 0.5), record(2, 0.4, 0.6)]
    assert going_on(rung) == {0, 1}
    strong = [record(0, 0.9, 0.1, exempt=True), record(1, 0.5, 0.5), record(2, 0.4, 0.6)]
    assert going_on(strong) == {0}
    assert reason_to_stop([record(0, nan, nan, exempt=True)], record(0, nan, nan, exempt=True), AXES, 3) is None


def test_equal_trials_share_their_fate() -> None:
    rung = rung_of((0.5, 0.5), (0.9, 0.1), (0.9, 0.1), (0.9, 0.1), (0.4, 0.6), (0.3, 0.7))
    assert going_on(rung) == {1, 2, 3}
    behind = rung_of((0.5, 0.5), (0.5, 0.5), (0.9, 0.1), (0.4, 0.6))
    assert going_on(behind) == {2}


def test_one_objective_is_successive_halving_as_published() -> None:
    accuracies = [0.3, 0.9, 0.2, 0.7, 0.8, 0.5, 0.6, 0.4, 0.15]
    rung = [record(number, value) for number, value in enumerate(accuracies)]
    assert going_on(rung, (ACCURACY,)) == {1, 4, 3}


def test_the_reason_says_how_many_were_better() -> None:
    rung = rung_of((0.9, 0.1), (0.5, 0.5), (0.4, 0.6), (0.3, 0.7))
    assert reason_to_stop(rung, rung[3], AXES, 2) == "not among the best 2 of 4 there"


def test_latencies_closer_than_their_spread_tie() -> None:
    """0.05 ms apart, 0.1 exact: neither is faster, so that the more accurate one dominates."""
    axes = (ACCURACY, ObjectiveAxis(name=LATENCY, direction="min", reference=10.0, ideal=0.0))
    values = [(0.5, 5.0), (0.6, 5.05), (0.55, 5.02)]
    exact = [RungRecord(number, pair, (0.0, 0.0)) for number, pair in enumerate(values)]
    blurred = [replace(entry, tolerances=(0.0, 0.1)) for entry in exact]
    assert pareto.ranks(values, MAXIMISE).tolist() == [0, 0, 0]
    assert going_on(blurred, axes) == {1}
    worse = [*blurred, *(RungRecord(number, (0.2, 9.0), (0.0, 0.1)) for number in range(3, 6))]
    assert going_on(worse, axes) == {1, 2}


def test_nobody_is_stopped_while_the_reference_point_is_not_fixed() -> None:
    axes = (ACCURACY, ObjectiveAxis(name=LATENCY, direction="min", reference=None, ideal=0.0))
    rung = rung_of(*[(0.2 + number / 20, 5.0) for number in range(9)])
    assert going_on(rung, axes) == set(range(9))
    fixed = (ACCURACY, ObjectiveAxis(name=LATENCY, direction="min", reference=10.0, ideal=0.0))
    assert len(going_on(rung, fixed)) == 3


_values = st.tuples(
    st.one_of(st.sampled_from((0.05, 0.1, 0.5, 0.9)), st.floats(0.0, 1.0)),
    st.one_of(st.sampled_from((0.1, 0.5, 1.0)), st.floats(0.01, 1.0)),
)
_points = st.lists(_values, min_size=1, max_size=24)


@given(points=_points, factor=st.integers(2, 4), data=st.data())
def test_verdicts_do_not_depend_on_the_order(points: list[tuple[float, float]], factor: int, data: st.DataObject) -> None:
    rung = rung_of(*points)
    shuffled = data.draw(st.permutations(rung))
    assert going_on(rung, factor=factor) == going_on(list(shuffled), factor=factor)


@given(points=_points, factor=st.integers(2, 4))
def test_no_more_go_on_than_there_are_places_but_for_ties_and_the_front(points: list[tuple[float, float]], factor: int) -> None:
    rung = rung_of(*points)
    kept = going_on(rung, factor=factor)
    places = len(rung) // factor
    if places == 0:
        assert kept == set(range(len(rung)))
        return
    if any(accuracy > 0.1 and cost < 1.0 for accuracy, cost in points):
        assert kept
    useful = [entry for entry in rung if entry.values[0] > 0.1]
    distinct = {rung[number].values for number in kept if rung[number].values[0] > 0.1}
    if len(distinct) > places:
        ranks = pareto.ranks([entry.values for entry in useful], MAXIMISE)
        front = {entry.values for entry, rank in zip(useful, ranks, strict=True) if rank == 0}
        assert distinct <= front
    if len(useful) >= places:
        assert all(rung[number].values[0] > 0.1 for number in kept), "one at chance was kept before one that is better"


@given(points=_points, factor=st.integers(2, 4))
def test_equal_values_have_equal_verdicts(points: list[tuple[float, float]], factor: int) -> None:
    rung = rung_of(*points, *points[:3])
    kept = going_on(rung, factor=factor)
    for a, b in itertools.combinations(rung, 2):
        if a.values == b.values:
            assert (a.trial in kept) == (b.trial in kept)


@given(points=_points, factor=st.integers(2, 4))
def test_whoever_is_better_than_one_that_goes_on_goes_on_too(points: list[tuple[float, float]], factor: int) -> None:
    """Of those better than chance: a rank is filled before the next one is looked at."""
    rung = rung_of(*points)
    kept = going_on(rung, factor=factor)
    for a, b in itertools.permutations(rung, 2):
        useful = a.values[0] > 0.1 and b.values[0] > 0.1
        if useful and pareto.dominates(a.values, b.values, MAXIMISE) and b.trial in kept:
            assert a.trial in kept


@given(points=st.lists(_values, min_size=1, max_size=9), count=st.integers(1, 4))
def test_the_greedy_choice_dominates_nearly_as_much_as_the_best(points: list[tuple[float, float]], count: int) -> None:
    axes = [axis for entry in AXES if (axis := entry.axis()) is not None]
    chosen = [index for index, _ in itertools.islice(pareto.by_hypervolume(points, axes), count)]
    assert len(set(chosen)) == len(chosen) <= count
    best = max(
        pareto.hypervolume([points[index] for index in subset], axes)
        for subset in itertools.combinations(range(len(points)), min(count, len(points)))
    )
    assert pareto.hypervolume([points[index] for index in chosen], axes) >= (1 - np.exp(-1)) * best - 1e-9


def test_a_point_that_adds_nothing_is_not_chosen() -> None:
    axes = [axis for entry in AXES if (axis := entry.axis()) is not None]
    points = [(0.1, 0.01), (0.5, 0.5), (0.4, 0.6), (0.5, 0.5), (0.9, 1.0)]
    assert [index for index, _ in pareto.by_hypervolume(points, axes)] == [1]
    assert list(pareto.by_hypervolume([], axes)) == []


_eighths = st.integers(0, 8).map(lambda count: count / 8)  # exact, so that ties are


@given(points=st.lists(st.tuples(_eighths, _eighths), max_size=9, unique=True))
@example(points=[(0.0, 0.875), (0.125, 0.75), (0.25, 0.5)])  # a bound from before the first choice is above what is left of it
def test_of_points_that_add_the_same_the_lexicographically_first_is_chosen(points: list[tuple[float, float]]) -> None:
    axes = [pareto.Axis("a", maximise=False, reference=1.0, ideal=0.0), pareto.Axis("b", False, 1.0, 0.0)]
    chosen: list[tuple[float, float]] = []
    while True:
        total = pareto.hypervolume(chosen, axes)
        gains = {point: pareto.hypervolume([*chosen, point], axes) - total for point in sorted(points)}
        if max(gains.values(), default=0.0) <= 1e-12:
            break
        chosen.append(max(gains, key=gains.__getitem__))
    assert [points[index] for index, _ in pareto.by_hypervolume(points, axes)] == chosen
