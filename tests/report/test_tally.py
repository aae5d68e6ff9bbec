from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_study import (
    SyntheticStudy,
    candidate,
    complete,
    ended,
    manifest,
    random_candidates,
    synthetic_study,
    view_of,
)

from cbam_search.records.events import EpochFinished
from cbam_search.records.trials import Trial, TrialState
from cbam_search.report.tally import Tally


@pytest.fixture
def study(tmp_path: Path) -> SyntheticStudy:
    """8 epochs a trial, 24 trials; every epoch takes 0.4 s."""
    return synthetic_study(tmp_path)


def following(study: SyntheticStudy, *trials: Trial) -> Tally:
    view = view_of(trials, study.manifest)
    study.ledger.subscribe(view.apply)
    return Tally(study.manifest, view)


def test_counts_follow_the_events(study: SyntheticStudy) -> None:
    tally = following(study)
    proposals = random_candidates(6)
    study.train(0, proposals[0], 0.9)
    study.skip(1, proposals[1], TrialState.INFEASIBLE)
    study.skip(2, proposals[1], TrialState.DUPLICATE)
    study.start(3, proposals[2])
    study.epoch(3, 1, 0.5)
    study.start(4, proposals[3])
    study.finish(4, TrialState.DIVERGED)
    assert tally.view.finished == 2
    assert tally.view.states == {TrialState.COMPLETE: 1, TrialState.DIVERGED: 1}
    assert tally.view.skipped == {TrialState.INFEASIBLE: 1, TrialState.DUPLICATE: 1}
    assert {number: (running.epoch, running.accuracy) for number, running in tally.running.items()} == {3: (1, 0.5)}
    assert tally.view.front == (0,)
    assert 0 < tally.view.hypervolume < 1
    assert tally.share_done == pytest.approx((2 + 1 / 8) / 24)


def test_a_resumed_study_starts_from_its_records(study: SyntheticStudy) -> None:
    recorded = [complete(0, 0.9, 0.001), ended(1, TrialState.STOPPED, epochs=3), Trial(2, candidate())]
    skipped = Trial(3, candidate(), ended(3, TrialState.DUPLICATE).outcome, attempts=0)
    tally = following(study, *recorded, skipped)
    assert (tally.view.finished, tally.view.front, tally.running) == (2, (0,), {})
    assert tally.view.hypervolume > 0
    assert tally.view.skipped == {TrialState.DUPLICATE: 1}
    study.start(2, candidate(), attempt=2)
    study.epoch(2, 5, 0.7)
    assert tally.running[2].epoch == 5
    study.finish(2)
    assert tally.view.finished == 3


def test_a_training_that_lost_its_worker_counts_once(study: SyntheticStudy) -> None:
    tally = following(study)
    study.start(0, candidate())
    study.epoch(0, 4, 0.5)
    study.start(0, candidate(), attempt=2)
    assert (len(tally.running), tally.running[0].epoch) == (1, 4)
    study.finish(0)
    assert (tally.view.finished, tally.running) == (1, {})


def test_time_left_is_unknown_until_enough_epochs_were_timed(study: SyntheticStudy) -> None:
    tally = following(study)
    study.start(0, candidate())
    for epoch in (1, 2, 3):
        study.epoch(0, epoch, 0.5)
    assert tally.seconds_left(study.now_seconds, concurrent=2) is None
    study.epoch(0, 4, 0.5)
    assert tally.seconds_left(study.now_seconds, concurrent=2) is not None


def test_time_left_is_epochs_left_shared_by_those_that_run_at_once(study: SyntheticStudy) -> None:
    tally = following(study)
    study.start(0, candidate())
    for epoch in range(1, 9):
        study.epoch(0, epoch, 0.5)
    epochs = 23 * 8
    assert tally.seconds_left(study.now_seconds, concurrent=2) == pytest.approx(epochs / 2 * 0.4)
    assert tally.seconds_left(study.now_seconds, concurrent=4) == pytest.approx(epochs / 4 * 0.4)
    assert tally.seconds_left(study.now_seconds + 10, concurrent=4) == pytest.approx(epochs / 4 * 0.4 - 10)
    assert tally.seconds_left(study.now_seconds + 1e6, concurrent=4) == 0


def test_a_training_cannot_be_shared(study: SyntheticStudy) -> None:
    recorded = [complete(number, 0.9, 0.001) for number in range(23)]
    tally = following(study, *recorded)
    study.start(23, candidate())
    for epoch in range(1, 7):
        study.epoch(23, epoch, 0.5)
    assert tally.seconds_left(study.now_seconds, concurrent=4) == pytest.approx(2 * 0.4)


def test_trainings_to_come_are_expected_to_last_as_long_as_past_ones(study: SyntheticStudy) -> None:
    recorded = [ended(number, TrialState.STOPPED, epochs=2) for number in range(20)]
    tally = following(study, *recorded)
    study.start(20, candidate())
    for epoch in range(1, 9):
        study.epoch(20, epoch, 0.5)
    assert tally.seconds_left(study.now_seconds, concurrent=1) == pytest.approx(3 * 2 * 0.4)


def test_a_slow_first_epoch_hardly_moves_the_time_left(study: SyntheticStudy) -> None:
    tally = following(study)
    study.start(0, candidate())
    times = [60.0, *[0.4] * 39]
    for epoch, seconds in enumerate(times, start=1):
        event = EpochFinished(trial=0, attempt=1, epoch=epoch, metrics={}, seconds=seconds, time_seconds=study.now_seconds)
        study.ledger.append(event)
    left = tally.seconds_left(study.now_seconds, concurrent=1)
    assert left == pytest.approx(23 * 8 * 0.4, rel=0.1)


def test_a_study_without_trials_is_at_zero() -> None:
    tally = Tally(manifest(), view_of([], manifest()))
    assert (tally.view.finished, tally.view.front, tally.view.hypervolume, tally.share_done) == (0, (), 0.0, 0.0)
