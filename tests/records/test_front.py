"""Ties in latency, and a hypervolume that waits for its reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import manifest_of, new_folder
from synthetic_study import ACCURACY, GFLOPS, candidate

from cbam_search.cost.config import LATENCY, LATENCY_SPREAD
from cbam_search.errors import RecordsError
from cbam_search.records.front import front_of
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Outcome, Trial, TrialState

OPEN = ObjectiveAxis(name=LATENCY, direction="min", reference=None, ideal=0.0)
FIXED = OPEN.model_copy(update={"reference": 5.0})


def timed(number: int, accuracy: float, latency: float, spread: float) -> Trial:
    metrics = {"accuracy": accuracy, LATENCY: latency, LATENCY_SPREAD: spread}
    values = {"accuracy": accuracy, LATENCY: latency, "gflops": 0.001}
    return Trial(number, candidate(), Outcome(state=TrialState.COMPLETE, metrics=metrics, values=values))


TRIALS = (timed(0, 0.90, 3.00, 0.01), timed(1, 0.91, 3.04, 0.05), timed(2, 0.93, 4.00, 0.05))


def test_latencies_within_the_spread_are_ties() -> None:
    assert front_of(TRIALS, (ACCURACY, FIXED)).numbers == (1, 2)
    assert front_of(TRIALS, (ACCURACY, FIXED)).ranks == {0: 1, 1: 0, 2: 0}


def test_the_spread_means_nothing_where_latency_is_no_objective() -> None:
    assert front_of(TRIALS, (ACCURACY, GFLOPS)).numbers == (2,)


def test_there_is_no_hypervolume_before_its_reference_is_fixed() -> None:
    assert front_of(TRIALS, (ACCURACY, OPEN)).hypervolume is None
    assert front_of(TRIALS, (ACCURACY, OPEN)).numbers == (1, 2)
    assert front_of(TRIALS, (ACCURACY, FIXED)).hypervolume > 0


def test_a_reference_is_fixed_once_and_every_reader_of_the_manifest_has_it(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, manifest_of((ACCURACY, OPEN)))
    assert folder.read_manifest().objectives == (ACCURACY, OPEN)
    folder.fix_references({LATENCY: 5.0})
    folder.fix_references({LATENCY: 6.0})
    assert folder.read_manifest().objectives == (ACCURACY, FIXED)


def test_damaged_references_are_said_to_be(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, manifest_of((ACCURACY, OPEN)))
    folder.references.write_text("{")
    with pytest.raises(RecordsError, match=r"references\.json cannot be read"):
        folder.read_manifest()
