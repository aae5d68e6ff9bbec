"""The truth of a study: what is written, in which order, and what another process reads of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.architecture import published
from cbam_search.errors import RecordsError
from cbam_search.records.events import FrontUpdated, TrialFinished, TrialSkipped, TrialStarted
from cbam_search.records.front import front_of
from cbam_search.records.ledger import read_events
from cbam_search.records.results import read_result, write_result
from cbam_search.records.storage import open_storage
from cbam_search.records.stored_trials import read_trials
from cbam_search.records.study_records import open_records
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.search.config import SearchConfig


def bench_of(tmp_path: Path, trials: int = 8) -> StudyBench:
    folder = new_folder(tmp_path, manifest_of(trials=trials))
    return StudyBench(folder, space_of(), SearchConfig(trials=trials, sampler="random"))


def test_another_process_reads_the_same_trials(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.run(landscape)
    read = read_trials(open_storage(None, bench.folder), bench.folder.read_manifest())
    assert read == bench.records.trials
    assert sum(trial.was_trained for trial in read.values()) == 8


def test_the_ledger_tells_the_whole_story(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.run(landscape)
    events = [event for event, _ in read_events(bench.folder.ledger)]
    started = [event.trial for event in events if isinstance(event, TrialStarted)]
    finished = [event.trial for event in events if isinstance(event, TrialFinished)]
    skipped = {event.trial for event in events if isinstance(event, TrialSkipped)}
    assert sorted(started) == sorted(finished)
    assert set(started) | skipped == set(bench.records.trials)
    last = [event for event in events if isinstance(event, FrontUpdated)][-1]
    assert last.front == bench.records.front.numbers
    assert last.hypervolume == bench.records.front.hypervolume > 0
    volumes = [event.hypervolume for event in events if isinstance(event, FrontUpdated)]
    assert volumes == sorted(volumes)


def test_only_complete_trials_are_on_the_front(tmp_path: Path) -> None:
    states = [TrialState.COMPLETE, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED]

    def trainer(trial: Trial) -> Outcome:
        state = states[trial.number % 4]
        metrics = {"accuracy": 0.9 if state is TrialState.COMPLETE else 0.99}
        return Outcome(state=state, metrics=metrics, epochs=1, reason=f"{state} {trial.number}")

    bench = bench_of(tmp_path, trials=12)
    bench.run(trainer)
    by_state = {state: [t for t in bench.records.trials.values() if t.state is state] for state in states}
    assert all(by_state.values())
    assert set(bench.records.front.ranks) == {trial.number for trial in by_state[TrialState.COMPLETE]}
    assert front_of(by_state[TrialState.STOPPED], bench.records.manifest.objectives).members == ()


def test_weights_of_the_front_stay_and_others_go(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)

    def trainer(trial: Trial) -> Outcome:
        bench.folder.evaluation(trial.evaluation).mkdir(parents=True)
        bench.folder.weights(trial.evaluation).write_bytes(b"w")
        bench.folder.checkpoint(trial.evaluation).write_bytes(b"c")
        return landscape(trial)

    bench.run(trainer)
    trials = [trial for trial in bench.records.trials.values() if trial.was_trained]
    bench.conductor.weights.closed()
    kept = {trial.number for trial in trials if bench.folder.weights(trial.evaluation).exists()}
    front = bench.records.front.members
    backbones = {trial.candidate.architecture.backbone for trial in front}
    plain = {published(backbone, kind).digest for backbone in backbones for kind in (None, "se", "cbam")}
    compared_with = {trial.number for trial in trials if trial.candidate.digest in plain}
    assert kept == {trial.number for trial in front} | compared_with
    assert kept < {trial.number for trial in trials}
    assert not any(bench.folder.checkpoint(trial.evaluation).exists() for trial in trials)


def test_results_survive_the_round_trip(tmp_path: Path) -> None:
    outcome = Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.1 + 0.2}, epochs=3, seconds=1.5)
    write_result(tmp_path / "00001" / "result.json", outcome)
    assert read_result(tmp_path / "00001" / "result.json") == outcome
    assert read_result(tmp_path / "00002" / "result.json") is None


def test_a_study_that_has_not_begun_has_no_trials(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    assert read_trials(open_storage(None, folder), folder.read_manifest()) == {}


def test_a_study_whose_database_is_gone_does_not_begin_anew(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.records.opened(resumed=False)
    bench.records.close()
    for path in tmp_path.rglob("optuna.db*"):
        path.unlink()
    with pytest.raises(RecordsError, match="Put the database back"):
        open_records(bench.folder, None)
