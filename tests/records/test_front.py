"""Ties in latency, and a hypervolume that waits for its reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import StudyBench, landscape, manifest_of, new_folder, space_of
from synthetic_study import ACCURACY, GFLOPS, PARAMS, candidate, complete, ended

from cbam_search.errors import RecordsError
from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.front import StudyFront, front_of
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.search.config import SearchConfig

OPEN = ObjectiveAxis(name=LATENCY, direction="min", reference=None, ideal=0.0)
FIXED = OPEN.model_copy(update={"reference": 5.0})


def timed(number: int, accuracy: float, latency: float, spread: float) -> Trial:
    metrics = {"accuracy": Measured(value=accuracy), LATENCY: Measured(value=latency, standard_error=spread, n=5)}
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


made = st.lists(
    st.tuples(
        st.floats(0.05, 1.0), st.floats(0.0, 6.0), st.sampled_from([0.0, 0.1, 0.5]), st.floats(1e-4, 0.015), st.booleans()
    ),
    max_size=16,
)


@settings(deadline=None)
@given(
    made, st.sampled_from([(ACCURACY, GFLOPS), (ACCURACY, FIXED), (ACCURACY, FIXED, GFLOPS), (ACCURACY, PARAMS, GFLOPS, FIXED)])
)
def test_trial_by_trial_it_is_the_front_of_all_trials(
    points: list[tuple[float, float, float, float, bool]], objectives: tuple[ObjectiveAxis, ...]
) -> None:
    """To the last bit of the hypervolume, with trials that are not complete in between, and a reference fixed on the way."""
    trials: list[Trial] = []
    front = StudyFront((), objectives)
    for number, (accuracy, latency, spread, gflops, is_complete) in enumerate(points):
        trial = timed(number, accuracy, latency, spread)
        assert trial.outcome is not None
        values = {**(trial.values or {}), "gflops": gflops, "params": round(gflops * 1e6)}
        outcome = trial.outcome.model_copy(update={"values": values})
        trials.append(Trial(number, trial.candidate, outcome) if is_complete else ended(number, TrialState.STOPPED))
        known = objectives if number > 5 else tuple(OPEN if entry == FIXED else entry for entry in objectives)
        before, whole = front.numbers, front_of(trials, known)
        assert front.add(trials[-1], known) == (before != whole.numbers)
        assert (front.members, front.hypervolume) == (whole.members, whole.hypervolume)
        assert (front.complete, front.ranks) == (len(whole.ranks), whole.ranks)
        opened = StudyFront(trials, known)
        assert (opened.members, opened.hypervolume) == (whole.members, whole.hypervolume)


def test_an_end_does_not_rank_all_trials_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = StudyBench(new_folder(tmp_path), space_of(), SearchConfig(trials=12, sampler="random", baselines=()))

    def forbidden(*_: object) -> None:
        raise AssertionError("all trials were ranked")

    monkeypatch.setattr("cbam_search.records.front.front_of", forbidden)
    monkeypatch.setattr("cbam_search.pareto.ranks", forbidden)
    bench.run(landscape)
    monkeypatch.undo()
    whole = front_of(bench.records.trials.values(), bench.records.manifest.objectives)
    assert (bench.records.front.numbers, bench.records.front.hypervolume) == (whole.numbers, whole.hypervolume)
    assert bench.records.front.complete == 12


def test_the_hypervolume_does_not_depend_on_the_order_of_trials() -> None:
    trials = [complete(number, 0.5 + 0.013 * number, 0.001 * (number % 7 + 1)) for number in range(20)]
    objectives = (ACCURACY, PARAMS, GFLOPS)
    assert front_of(trials, objectives).hypervolume == front_of(trials[::-1], objectives).hypervolume


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
