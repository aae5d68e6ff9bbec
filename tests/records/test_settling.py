"""What a driver that died between two writes left, and what the next one finds of it."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import TrialState as OptunaState
from studies import StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.records.events import TrialFinished
from cbam_search.records.ledger import read_events
from cbam_search.records.results import write_result
from cbam_search.records.settling import Settled, settle
from cbam_search.records.trials import TrialState
from cbam_search.search.config import SearchConfig


def bench_of(tmp_path: Path) -> StudyBench:
    config = SearchConfig(trials=10, sampler="random")
    return StudyBench(new_folder(tmp_path, manifest_of(trials=10)), space_of(), config)


def states(bench: StudyBench) -> list[OptunaState]:
    trials = bench.records.storage.get_all_trials(bench.records.optuna_study_id)
    return [trial.state for trial in trials]


def test_a_new_study_has_nothing_to_settle(tmp_path: Path) -> None:
    assert settle(bench_of(tmp_path).records) == Settled()


def test_a_proposal_that_nobody_recorded_is_forgotten(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.conductor.proposer.propose()
    settled = settle(bench.records)
    assert settled == Settled()
    assert states(bench) == [OptunaState.FAIL]
    assert bench.records.trials == {}


def test_a_training_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    assert settle(bench.records) == Settled(cut_off=[trial.number])
    assert states(bench) == [OptunaState.RUNNING]


def test_an_end_that_was_handed_over_is_found(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    write_result(bench.folder.result(trial.evaluation), landscape(trial))
    settled = settle(bench.records)
    assert settled == Settled(handed_over={trial.number: landscape(trial)})
    bench.restart()
    assert bench.records.trials[trial.number].state is TrialState.COMPLETE
    assert states(bench) == [OptunaState.COMPLETE]


def test_a_damaged_end_is_named_and_trained_again(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    write_result(bench.folder.result(trial.evaluation), landscape(trial))
    bench.folder.result(trial.evaluation).write_text("{")
    settled = settle(bench.records)
    assert settled.cut_off == [trial.number]
    [problem] = settled.problems
    assert problem.startswith(f"trial {trial.number} is trained again, since what was left of it cannot be read")


def test_an_end_that_was_recorded_but_not_told_is_told(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    bench.records.finish(trial.number, landscape(trial))
    assert states(bench) == [OptunaState.RUNNING]
    assert settle(bench.records).untold == [trial.number]
    bench.restart()
    assert states(bench) == [OptunaState.COMPLETE]
    ends = [event for event, _ in read_events(bench.folder.ledger) if isinstance(event, TrialFinished)]
    assert len(ends) == 1
