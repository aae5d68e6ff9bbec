"""What holds between a decision and its execution, whoever executes."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.events import ArchitectureMeasured, EpochFinished, TrialStarted
from cbam_search.records.ledger import read_events
from cbam_search.records.results import append_epochs, write_measured, write_result
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.running.conductor import SAME_ERROR_AT_MOST
from cbam_search.running.last_words import WorkerDeath
from cbam_search.search.config import SearchConfig
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION


def bench_of(tmp_path: Path, trials: int = 10, seed: int = 0) -> StudyBench:
    config = SearchConfig(trials=trials, sampler="random")
    return StudyBench(new_folder(tmp_path, manifest_of(trials=trials)), space_of(), config, seed=seed)


def failed(reason: str) -> Outcome:
    return Outcome(state=TrialState.FAILED, reason=reason)


def test_the_same_error_three_times_in_a_row_stops_the_study(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trained = bench.run(lambda _trial: failed("KeyError: 'x'"), workers=1)
    assert len(trained) == 3
    assert "KeyError: 'x'" in str(bench.conductor.stopped_by)
    assert bench.conductor.exhausted is None


def test_different_errors_and_successes_between_do_not(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)

    def trainer(trial: Trial) -> Outcome:
        return landscape(trial) if trial.number % 3 == 2 else failed(f"error {trial.number % 2}")

    assert len(bench.run(trainer, workers=1)) == 10
    assert bench.conductor.stopped_by is None


def test_an_epoch_or_an_end_that_is_reported_twice_is_recorded_once(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    for epoch in (1, 2, 2, 1, 3):
        bench.conductor.epoch(trial.number, Epoch(epoch, {"accuracy": 0.5}, 1.0))
    bench.conductor.finish(trial.number, landscape(trial))
    first = bench.records.trials[trial.number].outcome
    bench.conductor.finish(trial.number, failed("late"))
    bench.conductor.epoch(trial.number, Epoch(4, {"accuracy": 0.5}, 1.0))
    assert bench.records.trials[trial.number].outcome == first
    epochs = [event.epoch for event, _ in read_events(bench.folder.ledger) if isinstance(event, EpochFinished)]
    assert epochs == [1, 2, 3]


DEATH = WorkerDeath("its process was killed", "the last\nthat it wrote")


@pytest.mark.parametrize("for_good", [False, True])
def test_why_a_worker_died_is_kept_beside_its_trial(tmp_path: Path, for_good: bool) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    (bench.conductor.workers_died if for_good else bench.conductor.lost)(trial.number, DEATH)
    kept = bench.folder.error(trial.evaluation).read_text()
    assert kept == "A worker died: its process was killed\nthe last\nthat it wrote\n"
    outcome = bench.records.trials[trial.number].outcome
    assert (outcome.reason if outcome else None) == (f"its worker died, again and again: {DEATH.reason}" if for_good else None)


def test_a_study_whose_workers_die_for_the_same_reason_stops_and_says_which(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    for _ in range(SAME_ERROR_AT_MOST):
        trial = bench.conductor.next()
        assert trial is not None
        bench.conductor.workers_died(trial.number, DEATH)
    assert bench.conductor.next() is None
    assert DEATH.reason in str(bench.conductor.stopped_by)


def test_a_lost_worker_means_another_attempt_of_the_same_trial(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    again = bench.conductor.lost(trial.number, DEATH)
    assert (again.number, again.attempts, again.state) == (trial.number, 2, TrialState.RUNNING)
    assert bench.records.started == 1


def test_epochs_that_no_driver_heard_of_are_found_where_the_worker_left_them(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    path = bench.folder.epochs(trial.evaluation)
    path.parent.mkdir(parents=True)
    for epoch in (1, 2, 3):
        append_epochs(path, [Epoch(epoch, {"accuracy": epoch / 10}, 0.5)])
    with path.open("a") as file:
        file.write('{"epoch": 4, "accu')
    bench.conductor.epoch(trial.number, Epoch(1, {"accuracy": 0.1}, 0.5))
    bench.restart()
    again = bench.conductor.next()
    assert again is not None
    assert again.number == trial.number
    epochs = [event for event, _ in read_events(bench.folder.ledger) if isinstance(event, EpochFinished)]
    assert [(event.epoch, event.metrics) for event in epochs] == [(n, {"accuracy": n / 10}) for n in (1, 2, 3)]


def test_a_result_that_no_driver_noted_brings_its_epochs(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    path = bench.folder.epochs(trial.evaluation)
    path.parent.mkdir(parents=True)
    for epoch in (1, 2):
        append_epochs(path, [Epoch(epoch, {"accuracy": 0.5}, 0.5)])
    write_result(bench.folder.result(trial.evaluation), landscape(trial))
    bench.restart()
    assert bench.records.trials[trial.number].state is TrialState.COMPLETE
    epochs = [event.epoch for event, _ in read_events(bench.folder.ledger) if isinstance(event, EpochFinished)]
    assert epochs == [1, 2]
    assert not path.exists()


def test_what_lies_in_the_folder_of_a_new_trial_is_not_taken_for_its_own(tmp_path: Path) -> None:
    """A crash of the machine may take back the last numbers of the database; workers left results of what had them."""
    lost = bench_of(tmp_path / "lost", seed=1).conductor.next()
    assert lost is not None
    bench = bench_of(tmp_path)
    write_result(bench.folder.result(lost.evaluation), Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 1.0}))
    trial = bench.conductor.next()
    assert trial is not None
    assert trial.candidate.digest != lost.candidate.digest
    assert trial.number == lost.number == 0
    assert not bench.folder.result(trial.evaluation).exists()


def test_what_a_crash_left_uncollected_is_collected_by_the_next_driver(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    [trial] = bench.run(landscape, workers=1, at_most=1)
    bench.folder.evaluation(trial.evaluation).mkdir(parents=True)
    bench.folder.checkpoint(trial.evaluation).touch()
    bench.folder.weights(trial.evaluation).touch()
    bench.restart()
    assert not bench.folder.checkpoint(trial.evaluation).exists()
    assert bench.folder.weights(trial.evaluation).exists()


def test_what_was_measured_is_recorded_once_even_where_no_driver_heard_of_it(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    first, second = bench.conductor.next(), bench.conductor.next()
    assert first is not None
    assert second is not None
    figure = {LATENCY: Measured(value=3.0, standard_error=0.1, n=5)}
    for _ in range(2):
        bench.conductor.measured(first.number, figure)
    for trial in (first, second):
        write_measured(bench.folder.measured(trial.evaluation), figure)
        bench.conductor.lost(trial.number, DEATH)
    bench.conductor.measured(second.number, {})
    bench.conductor.finish(second.number, landscape(second))
    bench.conductor.measured(second.number, {LATENCY: Measured(value=4.0)})
    events = [event for event, _ in read_events(bench.folder.ledger) if isinstance(event, ArchitectureMeasured)]
    assert [(event.trial, event.metrics) for event in events] == [(first.number, figure), (second.number, figure)]


def test_a_training_that_another_version_of_the_numerics_began_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("cbam_search.records.study_records.NUMERICS_VERSION", NUMERICS_VERSION + 1)
        bench.records.opened(resumed=False)
    trial = bench.conductor.next()
    assert trial is not None
    folder = bench.folder.evaluation(trial.evaluation)
    folder.mkdir(parents=True)
    bench.folder.checkpoint(trial.evaluation).touch()
    append_epochs(bench.folder.epochs(trial.evaluation), [Epoch(1, {"accuracy": 0.1}, 0.5)])
    bench.conductor.epoch(trial.number, Epoch(1, {"accuracy": 0.1}, 0.5))
    bench.restart()
    assert not folder.exists()
    bench.records.opened(resumed=True)
    again = bench.conductor.next()
    assert again is not None
    assert (again.number, again.attempts, again.evaluation) == (trial.number, 2, trial.evaluation)
    assert bench.conductor.epochs_recorded(trial.number) == 0
    bench.conductor.epoch(trial.number, Epoch(1, {"accuracy": 0.2}, 0.5))
    assert [epoch.metrics for epoch in bench.records.view.epochs(trial.number)] == [{"accuracy": 0.2}]
    starts = [event for event, _ in read_events(bench.folder.ledger) if isinstance(event, TrialStarted)]
    assert [event.anew for event in starts] == [False, True]
    assert bench.conductor.lost(trial.number, DEATH).attempts == 3
    assert bench.conductor.epochs_recorded(trial.number) == 1  # this version's own
