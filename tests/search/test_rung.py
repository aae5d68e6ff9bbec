"""A rung that fills gives the verdicts of the function of its records."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbam_search.metrics import LATENCY
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.search import rung as module
from cbam_search.search.early_stopping import RungRecord, reason_to_stop
from cbam_search.search.rung import Rung

ACCURACY = ObjectiveAxis(name="accuracy", direction="max", reference=0.1, ideal=1.0)
RECALL = ObjectiveAxis(name="balanced_accuracy", direction="max", reference=0.2, ideal=1.0)
GFLOPS = ObjectiveAxis(name="gflops", direction="min", reference=1.0, ideal=0.0)
FIXED = ObjectiveAxis(name=LATENCY, direction="min", reference=1.0, ideal=0.0)
OPEN = FIXED.model_copy(update={"reference": None})

# Few different values, so that there are ties and equal points; 0.1 is chance.
value = st.sampled_from([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.2, nan])
arrivals = st.lists(
    st.tuples(
        st.tuples(value, value, value),
        st.sampled_from([0.0, 0.05, 0.3]),
        st.sampled_from([0.0, 0.0, 0.0, 0.2, 0.5]),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=30,
)


def record(trial: int, values: tuple[float, ...], spread: float, excess: float, exempt: bool) -> RungRecord:
    """The spread is the last value's."""
    return RungRecord(trial, values, (*(0.0,) * (len(values) - 1), spread), excess, exempt)


@settings(deadline=None)
@given(
    arrivals,
    st.sampled_from([(ACCURACY, GFLOPS), (ACCURACY, RECALL, GFLOPS), (ACCURACY, GFLOPS, FIXED), (ACCURACY,)]),
    st.integers(2, 4),
    st.integers(0, 12),
)
def test_each_arrival_gets_the_verdict_of_the_function(
    points: list[tuple[tuple[float, ...], float, float, bool]],
    objectives: tuple[ObjectiveAxis, ...],
    factor: int,
    fixed_at: int,
) -> None:
    rung, records = Rung(), []
    for trial, (values, spread, excess, exempt) in enumerate(points):
        timed = objectives[-1] == FIXED
        records.append(record(trial, values[: len(objectives)], spread if timed else 0.0, excess, exempt))
        rung.add(records[-1])
        axes = objectives if trial >= fixed_at else tuple(OPEN if entry == FIXED else entry for entry in objectives)
        assert rung.reason_to_stop(trial, axes, factor) == reason_to_stop(records, records[-1], axes, factor)
        earlier = trial // 2
        expected = reason_to_stop(records[: earlier + 1], records[earlier], axes, factor)
        assert rung.reason_to_stop(earlier, axes, factor) == expected


@settings(deadline=None)
@given(arrivals.filter(bool), st.integers(2, 4))
def test_whoever_is_not_asked_counts_all_the_same(
    points: list[tuple[tuple[float, ...], float, float, bool]], factor: int
) -> None:
    """After a resume a rung is filled from the ledger at once."""
    rung, objectives = Rung(), (ACCURACY, GFLOPS)
    records = [record(trial, values[:2], 0.0, excess, exempt) for trial, (values, _, excess, exempt) in enumerate(points)]
    for entry in records:
        rung.add(entry)
    found = rung.reason_to_stop(len(records) - 1, objectives, factor)
    assert found == reason_to_stop(records, records[-1], objectives, factor)


def test_a_verdict_is_without_the_function_over_all_records(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("the whole rung was ranked")

    monkeypatch.setattr(module, "reason_to_stop", forbidden)
    rung, stopped = Rung(), 0
    for trial, (accuracy, gflops) in enumerate(np.random.default_rng(0).random((300, 2)).tolist()):
        rung.add(record(trial, (accuracy, gflops), 0.0, 0.0, False))
        stopped += rung.reason_to_stop(trial, (ACCURACY, GFLOPS), 3) is not None
    assert 150 < stopped < 250


def test_a_value_that_is_not_finite_stops_whatever_the_rung_holds() -> None:
    rung = Rung()
    rung.add(record(0, (inf, 0.5), 0.0, 0.0, False))
    assert rung.reason_to_stop(0, (ACCURACY, GFLOPS), 3) == "accuracy not finite"
