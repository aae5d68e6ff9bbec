"""The fold of a study's events: the same however often they come, in whatever order trials take turns, after any crash."""

from __future__ import annotations

import random
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import StudyBench, landscape, manifest_of, new_folder, space_of
from synthetic_study import ACCURACY, GFLOPS, STARTED_SECONDS, random_candidates

from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.events import (
    EVENT,
    ArchitectureMeasured,
    EpochFinished,
    EvaluationFinished,
    Event,
    FrontUpdated,
    StudyClosed,
    StudyExtended,
    StudyOpened,
    TrialFinished,
    TrialSkipped,
    TrialStarted,
    TrialWaits,
    WeightsRemoved,
)
from cbam_search.records.folder import StudyFolder
from cbam_search.records.front import front_of
from cbam_search.records.ledger import read_events
from cbam_search.records.trials import Candidate, Outcome, ReplayedFrom, Trial, TrialState, evaluation_id
from cbam_search.records.view import StudyView
from cbam_search.search.config import SearchConfig
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION

CANDIDATES = random_candidates(16)
DIGESTS = [proposed.digest for proposed in CANDIDATES]
OBJECTIVES = (ACCURACY, GFLOPS)
FIGURE = {LATENCY: Measured(value=3.0, standard_error=0.1, n=5)}
ENDS = (TrialState.COMPLETE, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED)
SKIPS = (TrialState.DUPLICATE, TrialState.INFEASIBLE)


def started(number: int, attempt: int = 1, proposed: Candidate | None = None, **more: Any) -> TrialStarted:
    proposed = proposed or CANDIDATES[number]
    digest, label = proposed.digest, proposed.label
    return TrialStarted(
        trial=number, attempt=attempt, candidate=proposed, label=label, digest=digest, parameters={}, seed=0, **more
    )


def skipped(number: int, state: TrialState = TrialState.DUPLICATE) -> TrialSkipped:
    proposed = CANDIDATES[number]
    return TrialSkipped(
        trial=number,
        candidate=proposed,
        label=proposed.label,
        digest=proposed.digest,
        outcome=Outcome(state=state, reason="as told"),
    )


def epoch(number: int, at: int, accuracy: float = 0.5, *, attempt: int = 1, replayed: bool = False) -> EpochFinished:
    metrics = {"train_loss": 1 / at, "accuracy": accuracy}
    return EpochFinished(trial=number, attempt=attempt, epoch=at, metrics=metrics, seconds=0.1 * at, replayed=replayed)


def finished(
    number: int, state: TrialState = TrialState.COMPLETE, accuracy: float = 0.5, epochs: int = 2, *, replayed: bool = False
) -> TrialFinished:
    values = {"accuracy": accuracy, "gflops": CANDIDATES[number].gflops} if state is TrialState.COMPLETE else None
    source = ReplayedFrom(study="other", study_id="o", trial=7) if replayed else None
    return TrialFinished(
        trial=number,
        outcome=Outcome(state=state, metrics={"accuracy": accuracy}, values=values, epochs=epochs, replayed_from=source),
    )


def front(*numbers: int, hypervolume: float | None = 0.5) -> FrontUpdated:
    return FrontUpdated(front=numbers, hypervolume=hypervolume, changed=True, complete=len(numbers))


def measured(number: int) -> ArchitectureMeasured:
    return ArchitectureMeasured(trial=number, metrics=FIGURE)


def evaluated(number: int | None, seed: int = 1, candidate: Candidate | None = None) -> EvaluationFinished:
    architecture = (candidate or CANDIDATES[number or 0]).architecture
    outcome = Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.4}, epochs=2)
    return EvaluationFinished(evaluation=Evaluation(architecture=architecture, seed=seed, trial=number, outcome=outcome))


def fold(events: Iterable[Event]) -> StudyView:
    view = StudyView()
    for event in events:
        view.apply(event)
    return view


def told(view: StudyView, *without: str) -> dict[str, Any]:
    """All that a view tells, but what is named."""
    numbers = sorted(view.trials)
    now = STARTED_SECONDS + 1e6
    everything = {
        "trials": view.trials,
        "running": view.running,
        "front": (view.front, view.hypervolume),
        "hypervolumes": view.hypervolumes,
        "closed": (view.closed, view.stood_still),
        "time": (view.time.seconds(now), view.time.last_event_seconds),
        "pace": list(view.epoch_seconds),
        "epochs": {number: view.epochs(number) for number in numbers},
        "last": {number: (view.last_epoch(number), view.epochs_recorded(number)) for number in numbers},
        "epochs_trained": (view.epochs_trained, view.ended_epochs),
        "arrivals": {level: list(trials) for level, trials in view.arrivals.items() if trials},
        "measured": {number: view.measured(number) for number in numbers},
        "evaluations": (view.evaluations, {number: view.evaluation(number) for number in numbers}),
        "counts": (view.states, view.skipped, view.finished, view.replayed),
        "unfinished": sorted(view.unfinished()),
        "noted": {number: view.end_is_noted(number) for number in numbers},
        "numerics": (view.numerics_version, {number: view.is_of_other_numerics(number) for number in numbers}),
        "weights_removed": view.weights_removed,
    }
    return {name: entry for name, entry in everything.items() if name not in without}


# Whole ledgers, made up.


@dataclass
class _Script:
    """One trial's part of a ledger, event by event."""

    number: int
    end: TrialState
    epochs: int
    measured: bool
    replayed: bool
    more_seeds: int
    attempt: int = 1
    done: int = 0
    begun: bool = False

    def start(self) -> TrialStarted:
        self.begun = True
        return started(self.number, self.attempt)

    def steps(self) -> Iterator[Event]:
        if self.end in SKIPS:
            yield skipped(self.number, self.end)
            return
        yield self.start()
        if self.measured:
            yield measured(self.number)
        accuracy = 0.3 + 0.02 * self.number
        for at in range(1, self.epochs + 1):
            self.done = at
            yield epoch(self.number, at, accuracy * at / self.epochs, attempt=self.attempt, replayed=self.replayed)
        if self.end is TrialState.RUNNING:
            return
        self.begun = False
        yield finished(self.number, self.end, accuracy, self.epochs, replayed=self.replayed)
        for seed in range(1, self.more_seeds + 1):
            yield evaluated(self.number, seed)


@st.composite
def ledgers(draw: st.DrawFn) -> list[Event]:
    """A whole study: trials take turns at random, drivers are killed or close and others go on, budgets are extended."""
    count = draw(st.integers(1, 7))
    scripts = [
        _Script(
            number,
            end=draw(st.sampled_from((*ENDS, TrialState.COMPLETE, TrialState.RUNNING, *SKIPS))),
            epochs=draw(st.integers(0, 4)),
            measured=draw(st.booleans()),
            replayed=draw(st.integers(0, 4)) == 0,
            more_seeds=draw(st.integers(0, 2)),
        )
        for number in range(count)
    ]
    under_way = {script.number: script.steps() for script in scripts}
    ends: dict[int, Trial] = {}
    events: list[Event] = [StudyOpened(resumed=False)]
    while under_way:
        number = draw(st.sampled_from(sorted(under_way)))
        for event in under_way[number]:
            events.append(event)
            if isinstance(event, TrialFinished):
                ends[number] = Trial(number, CANDIDATES[number], event.outcome)
                found = front_of(ends.values(), OBJECTIVES)
                events.append(front(*found.numbers, hypervolume=found.hypervolume))
            break
        else:
            del under_way[number]
        match draw(st.integers(0, 24)):
            case 0:
                reason = draw(st.sampled_from(("trials", "hypervolume", "interrupted")))
                events.append(StudyClosed(reason=reason, message=""))
                events += [StudyExtended(trials=99, hours=None)] if draw(st.booleans()) else []
                events += _resumed(scripts)
            case 1:
                events += _resumed(scripts)
            case 2 if ends:
                events.append(WeightsRemoved(trials=(draw(st.sampled_from(sorted(ends))),)))
    gaps = draw(st.lists(st.integers(0, 9), min_size=len(events), max_size=len(events)))
    return [
        event.model_copy(update={"time_seconds": STARTED_SECONDS + sum(gaps[: place + 1])})
        for place, event in enumerate(events)
    ]


def _resumed(scripts: Iterable[_Script]) -> list[Event]:
    events: list[Event] = [StudyOpened(resumed=True)]
    for script in scripts:
        if script.begun:
            script.attempt += 1
            events.append(script.start())
    return events


@settings(deadline=None)
@given(ledgers())
def test_every_event_twice_is_as_once(events: list[Event]) -> None:
    twice = [event for event in events for _ in range(2)]
    assert told(fold(twice)) == told(fold(events))


KEYED = (TrialSkipped, ArchitectureMeasured, EpochFinished, TrialFinished, EvaluationFinished, WeightsRemoved)
"""Events of one trial that say the same whenever they are said again."""


@settings(deadline=None)
@given(ledgers(), st.randoms(use_true_random=False))
def test_what_a_trial_came_to_may_be_told_again_at_any_later_time(events: list[Event], chance: random.Random) -> None:
    told_again: list[Event] = []
    for place, event in enumerate(events):
        told_again.append(event)
        earlier = [known for known in events[: place + 1] if isinstance(known, KEYED)]
        repeated = chance.sample(earlier, min(len(earlier), chance.randrange(3)))
        told_again += [known.model_copy(update={"time_seconds": event.time_seconds}) for known in repeated]
    assert told(fold(told_again)) == told(fold(events))


@settings(deadline=None)
@given(ledgers())
def test_a_repeated_event_of_a_trial_is_no_news(events: list[Event]) -> None:
    view = StudyView()
    for event in events:
        view.apply(event)
        if isinstance(event, (*KEYED, TrialStarted)):
            assert not view.apply(event), event


@settings(deadline=None)
@given(ledgers())
def test_it_is_what_the_events_say_when_they_are_counted_one_by_one(events: list[Event]) -> None:
    view = fold(events)
    outcomes = {event.trial: event.outcome for event in events if isinstance(event, TrialFinished)}
    attempts = {event.trial: event.attempt for event in events if isinstance(event, TrialStarted)}
    skips = {event.trial: event.outcome for event in events if isinstance(event, TrialSkipped)}
    assert set(view.trials) == set(attempts) | set(skips)
    for number, trial in view.trials.items():
        assert trial.outcome == (outcomes | skips).get(number)
        assert trial.attempts == attempts.get(number, 0)
    assert view.states == Counter(outcome.state for outcome in outcomes.values())
    assert view.skipped == Counter(outcome.state for outcome in skips.values())
    assert view.finished == len(outcomes)
    assert sorted(view.unfinished()) == sorted(set(attempts) - set(outcomes))
    assert view.replayed == sum(outcome.replayed_from is not None for outcome in outcomes.values())
    assert view.ended_epochs == sum(outcome.epochs for outcome in outcomes.values())
    epochs = [event for event in events if isinstance(event, EpochFinished)]
    assert list(view.epoch_seconds) == [event.seconds for event in epochs if not event.replayed]
    assert view.epochs_trained == len({(event.trial, event.epoch) for event in epochs if not event.replayed})
    arrivals: dict[int, list[int]] = {}
    for event in epochs:
        arrivals.setdefault(event.epoch, []).append(event.trial)
    assert {level: trials for level, trials in view.arrivals.items() if trials} == arrivals
    for number in view.trials:
        curve = [Epoch(event.epoch, event.metrics, event.seconds) for event in epochs if event.trial == number]
        assert view.epochs(number) == tuple(curve)
        assert view.last_epoch(number) == (curve[-1] if curve else None)
    since = max((place for place, event in enumerate(events) if isinstance(event, StudyExtended)), default=0)
    assert view.hypervolumes == [event.hypervolume for event in events[since:] if isinstance(event, FrontUpdated)]
    assert set(view.evaluations) == {
        evaluation_id(DIGESTS[event.evaluation.trial], event.evaluation.seed)
        for event in events
        if isinstance(event, EvaluationFinished) and event.evaluation.trial is not None
    }


# Storage and ledger after a crash of the machine.

NOT_OF_TRIALS = ("front", "hypervolumes", "time", "pace", "closed", "evaluations")


@settings(deadline=None)
@given(ledgers(), st.data())
def test_numbers_that_the_storage_has_lost_are_as_if_they_had_never_been(events: list[Event], data: st.DataObject) -> None:
    view = fold(events)
    known = sorted(view.trials)
    lost = known[data.draw(st.integers(0, len(known))) :]
    view.reconcile({number: trial for number, trial in view.trials.items() if number not in lost})
    without = fold(event for event in events if getattr(event, "trial", None) not in lost)
    without.weights_removed -= set(lost)
    assert told(view, *NOT_OF_TRIALS) == told(without, *NOT_OF_TRIALS)
    assert not set(view.front) & set(lost)


def test_what_the_storage_knows_and_the_ledger_does_not_is_taken_from_it() -> None:
    view = fold([StudyOpened(resumed=False), started(0), epoch(0, 1), started(1)])
    outcome = finished(0).outcome
    recorded = {
        0: Trial(0, CANDIDATES[0], outcome, evaluations=(evaluation_id(DIGESTS[0], 0),)),
        1: Trial(1, CANDIDATES[1], attempts=2, evaluations=(evaluation_id(DIGESTS[1], 0),)),
        2: Trial(2, CANDIDATES[2], Outcome(state=TrialState.DUPLICATE), attempts=0),
    }
    view.reconcile(recorded)
    assert view.trials == recorded
    assert view.states == {TrialState.COMPLETE: 1}
    assert view.skipped == {TrialState.DUPLICATE: 1}
    assert view.epochs_recorded(0) == 1
    assert not view.end_is_noted(0)
    view.apply(TrialFinished(trial=0, outcome=outcome))
    assert view.end_is_noted(0)


def test_other_seeds_of_a_trial_outlive_what_the_storage_says_of_it() -> None:
    view = fold([StudyOpened(resumed=False), started(0), finished(0), evaluated(0)])
    before = view.trials[0]
    view.reconcile({0: Trial(0, CANDIDATES[0], before.outcome, evaluations=before.evaluations[:1])})
    assert view.trials[0] == before
    assert len(before.evaluations) == 2


def test_a_number_that_the_storage_gave_to_another_candidate_keeps_nothing_of_the_first() -> None:
    view = fold([StudyOpened(resumed=False), started(0), measured(0), *(epoch(0, at) for at in (1, 2)), finished(0), front(0)])
    other = Trial(0, CANDIDATES[1], evaluations=(evaluation_id(DIGESTS[1], 0),))
    view.reconcile({0: other})
    _holds_nothing_of_the_first(view)
    assert view.trials == {0: other}
    assert view.running == set()


def test_a_number_that_a_later_event_gives_to_another_candidate_keeps_nothing_of_the_first() -> None:
    """As in the ledger of a study whose storage lost its last numbers: nobody tells of the loss itself."""
    first = [started(0), measured(0), *(epoch(0, at) for at in (1, 2, 3)), finished(0), front(0), evaluated(0)]
    view = fold([StudyOpened(resumed=False), *first, StudyOpened(resumed=True)])
    assert view.apply(started(0, proposed=CANDIDATES[1]))
    _holds_nothing_of_the_first(view)
    assert view.trials == {0: Trial(0, CANDIDATES[1], evaluations=(evaluation_id(DIGESTS[1], 0),))}
    view.apply(epoch(0, 1, 0.9))
    assert view.epochs(0) == (Epoch(1, {"train_loss": 1.0, "accuracy": 0.9}, 0.1),)
    assert (view.epochs_trained, view.arrivals[1]) == (1, [0])

    view = fold([StudyOpened(resumed=False), *first, StudyOpened(resumed=True)])
    view.apply(skipped(1).model_copy(update={"trial": 0}))
    _holds_nothing_of_the_first(view)
    assert view.skipped == {TrialState.DUPLICATE: 1}


def _holds_nothing_of_the_first(view: StudyView) -> None:
    assert (view.epochs(0), view.epochs_recorded(0), view.measured(0)) == ((), 0, {})
    assert not any(view.arrivals.values())
    assert (view.states, view.finished, view.ended_epochs, view.epochs_trained) == ({}, 0, 0, 0)
    assert not view.end_is_noted(0)
    assert view.front == ()


def test_open_records_show_the_fold_of_their_ledger_and_so_does_the_next_driver(tmp_path: Path) -> None:
    bench = StudyBench(new_folder(tmp_path, manifest_of(trials=6)), space_of(), SearchConfig(trials=6, sampler="random"))
    bench.records.opened(resumed=False)
    bench.run(landscape, at_most=3)
    assert told(_of_ledger(bench.folder)) == told(bench.records.view)
    bench.restart()
    assert told(_of_ledger(bench.folder)) == told(bench.records.view)
    bench.records.opened(resumed=True)
    bench.run(landscape)
    assert bench.records.view.finished == 6
    assert told(_of_ledger(bench.folder)) == told(bench.records.view)
    assert bench.records.view.front == bench.records.front.numbers


def test_a_database_that_lost_its_last_numbers_is_followed_by_every_reader(tmp_path: Path) -> None:
    """As after a crash of the machine: the ledger is ahead, and the numbers are given again."""
    bench = StudyBench(new_folder(tmp_path, manifest_of(trials=8)), space_of(), SearchConfig(trials=8, sampler="random"))
    bench.records.opened(resumed=False)
    bench.run(landscape, workers=1, at_most=4)
    bench.records.close()
    copy = tmp_path / "copy.db"
    shutil.copy(bench.folder.database, copy)
    bench.restart()
    kept = dict(bench.records.trials)
    bench.run(landscape, workers=1, at_most=3)
    lost = bench.records.trials.keys() - kept.keys()
    digests = {number: bench.records.trials[number].candidate.digest for number in lost}
    bench.records.close()
    for path in bench.folder.path.glob("optuna.db*"):
        path.unlink()
    shutil.copy(copy, bench.folder.database)
    bench.seed = 1  # so that the numbers come to other candidates
    bench.restart()
    assert lost
    assert bench.records.trials == kept
    assert bench.records.started == bench.records.view.finished == 4
    assert set(bench.records.view.front) <= set(kept)
    bench.records.opened(resumed=True)
    bench.run(landscape, workers=1)
    trials = bench.records.trials
    assert any(trials[number].candidate.digest != digests[number] for number in lost & trials.keys())
    assert bench.records.view.finished == bench.records.started == 8
    for reader in (_of_ledger(bench.folder), bench.records.view):
        assert {number: reader.trials[number] for number in trials} == trials
        for number, trial in trials.items():
            assert len(reader.epochs(number)) == (2 if trial.was_trained else 0)
            assert [epoch.metrics for epoch in reader.epochs(number)] == [
                {"accuracy": trial.outcome.value("accuracy")} for _ in reader.epochs(number) if trial.outcome
            ]


def _of_ledger(folder: StudyFolder) -> StudyView:
    return fold(event for event, _ in read_events(folder.ledger))


# Trainings that begin again.


def test_a_training_that_goes_on_keeps_its_epochs_and_one_that_begins_anew_forgets_them() -> None:
    before = [StudyOpened(resumed=False), started(0), started(1), epoch(0, 1), epoch(1, 1), epoch(0, 2), measured(0)]
    view = fold([*before, StudyOpened(resumed=True), started(0, 2)])
    assert (view.epochs_recorded(0), view.trials[0].attempts, view.epochs_trained) == (2, 2, 3)

    view = fold([*before, StudyOpened(resumed=True), started(0, 2, anew=True)])
    assert (view.epochs(0), view.last_epoch(0), view.epochs_recorded(0), view.epoch_of(0, 1)) == ((), None, 0, None)
    assert view.arrivals == {1: [1], 2: []}
    assert view.epochs_trained == 1
    assert view.measured(0) == FIGURE  # what the device takes has not changed
    assert view.apply(epoch(0, 1, 0.9, attempt=2))
    assert view.epochs(0) == (Epoch(1, {"train_loss": 1.0, "accuracy": 0.9}, 0.1),)
    assert view.arrivals[1] == [1, 0]
    assert view.epochs_trained == 2


@pytest.mark.parametrize("at", [1, 2])
def test_an_epoch_with_other_metrics_is_news_and_stands_in_place_of_the_first(at: int) -> None:
    view = fold([StudyOpened(resumed=False), started(0), epoch(0, 1), epoch(0, 2)])
    assert view.apply(epoch(0, at, 0.7))
    assert {known.epoch: known.metrics["accuracy"] for known in view.epochs(0)} == {1: 0.5, 2: 0.5} | {at: 0.7}
    assert view.epochs_trained == 2


def test_of_other_numerics_is_what_such_a_version_started_until_this_one_starts_it_again() -> None:
    view = fold([StudyOpened(resumed=False, numerics_version=NUMERICS_VERSION + 1), started(0), started(1)])
    assert [view.is_of_other_numerics(number) for number in (0, 1)] == [True, True]
    view.apply(StudyOpened(resumed=True, numerics_version=NUMERICS_VERSION))
    view.apply(started(0, 2, anew=True))
    assert [view.is_of_other_numerics(number) for number in (0, 1)] == [False, True]
    assert view.numerics_version == NUMERICS_VERSION


def test_running_are_those_that_this_session_started() -> None:
    view = fold([StudyOpened(resumed=False), started(0), started(1), finished(1)])
    assert view.running == {0}
    view.apply(StudyOpened(resumed=True))
    assert (view.running, view.unfinished()) == (set(), [0])
    view.apply(started(0, 2))
    assert view.running == {0}


def test_an_end_that_the_storage_lost_counts_again_when_it_comes_again() -> None:
    first = [started(0), started(1), finished(0), front(0, hypervolume=0.3), finished(1), front(1, hypervolume=0.4)]
    view = fold([StudyOpened(resumed=False), *first, StudyOpened(resumed=True)])
    assert view.apply(started(1, 2))
    assert (view.end_is_noted(0), view.end_is_noted(1)) == (True, False)
    assert (view.finished, view.unfinished(), view.running) == (1, [1], {1})
    for event in (finished(1, accuracy=0.6), front(1, hypervolume=0.5)):
        view.apply(event)
    assert view.end_is_noted(1)
    assert view.hypervolumes == [0.3, 0.5]


# Trainings that are not the search's own.


def test_another_seed_of_a_trial_joins_its_evaluations_and_changes_nothing_else() -> None:
    view = fold([StudyOpened(resumed=False), started(0), epoch(0, 1), finished(0), front(0)])
    before = told(view, "trials", "evaluations", "time")
    event = evaluated(0)
    assert view.apply(event)
    assert not view.apply(event)
    own, other = (evaluation_id(DIGESTS[0], seed) for seed in (0, 1))
    assert view.trials[0].evaluations == (own, other)
    assert view.trials[0].evaluation == own
    assert view.trials[0].outcome == finished(0).outcome
    assert view.evaluations == {other: event.evaluation}
    assert told(view, "trials", "evaluations", "time") == before
    view.apply(started(0, 2))
    assert view.trials[0].evaluations == (own, other)


def test_a_training_of_no_trial_is_kept_by_its_id_alone() -> None:
    view = fold([StudyOpened(resumed=False), started(0)])
    before = told(view, "evaluations", "time")
    event = evaluated(None, candidate=CANDIDATES[5])
    assert view.apply(event)
    assert not view.apply(event)
    assert view.evaluations == {evaluation_id(DIGESTS[5], 1): event.evaluation}
    assert told(view, "evaluations", "time") == before


def test_a_trial_s_own_training_as_an_evaluation() -> None:
    view = fold([StudyOpened(resumed=False), started(0), measured(0), epoch(0, 1, 0.4), epoch(0, 2, 0.5)])
    evaluation = view.evaluation(0)
    assert (evaluation.trial, evaluation.seed, evaluation.state) == (0, 0, TrialState.RUNNING)
    assert evaluation.architecture == CANDIDATES[0].architecture
    assert evaluation.curve("accuracy") == {1: 0.4, 2: 0.5}
    assert evaluation.measured == FIGURE
    assert evaluation.final("accuracy") is None
    view.apply(finished(0))
    assert view.evaluation(0).final("accuracy") == 0.5


# Budgets.


def test_the_time_spent_is_that_of_its_sessions() -> None:
    events = [(StudyOpened(resumed=False), 100.0), (epoch(0, 1), 130.0), (StudyOpened(resumed=True), 1000.0)]
    view = fold(event.model_copy(update={"time_seconds": at}) for event, at in events)
    assert view.time.seconds(1007.0) == 37.0


def test_an_extension_restarts_the_hypervolume_s_window() -> None:
    view = fold([StudyOpened(resumed=False), started(0), finished(0), front(0, hypervolume=0.3)])
    view.apply(StudyClosed(reason="hypervolume", message=""))
    assert (view.hypervolumes, view.stood_still) == ([0.3], True)
    view.apply(StudyExtended(trials=99, hours=None))
    assert (view.hypervolumes, view.stood_still) == ([], False)
    for event in (StudyOpened(resumed=True), started(1), started(2), finished(1), front(0, 1, hypervolume=0.4)):
        view.apply(event)
    assert view.hypervolumes == [0.4]
    for event in (finished(2), front(0, 1, hypervolume=0.4), front(0, 2, hypervolume=0.5)):  # noted again after a crash
        view.apply(event)
    assert view.hypervolumes == [0.4, 0.5]
    assert (view.front, view.hypervolume) == ((0, 2), 0.5)


def test_that_the_hypervolume_stood_still_holds_until_an_extension() -> None:
    view = fold([StudyOpened(resumed=False), StudyClosed(reason="hypervolume", message="")])
    for event in (StudyOpened(resumed=True), started(0), finished(0), front(0), StudyClosed(reason="interrupted", message="")):
        view.apply(event)
        assert view.stood_still
    view.apply(StudyExtended(trials=99, hours=None))
    assert not view.stood_still


# Ledgers of version 0.1.


def test_a_latency_among_the_metrics_of_an_epoch_is_what_was_measured_before() -> None:
    old = EpochFinished(
        trial=0,
        attempt=1,
        epoch=1,
        metrics={"accuracy": 0.5, "latency_ms": 3.0, "latency_spread_ms": 0.1},
        seconds=1.0,
    )
    view = fold([StudyOpened(resumed=False), started(0), old])
    assert view.epochs(0) == (Epoch(1, {"accuracy": 0.5}, 1.0),)
    assert view.measured(0) == {LATENCY: Measured(value=3.0, standard_error=0.1)}


# Another thread.


def test_nothing_changes_under_a_reader_who_holds_the_lock() -> None:
    view = fold([StudyOpened(resumed=False), started(0), epoch(0, 1)])
    before = told(view)
    with view.lock:
        other = threading.Thread(target=view.apply, args=(finished(0),))
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert told(view) == before
    other.join(10)
    assert view.finished == 1


def test_a_reader_in_another_thread_sees_whole_events_only() -> None:
    view = fold([StudyOpened(resumed=False)])
    seen: list[int] = []
    problems: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                with view.lock:
                    ends = Counter(trial.state for trial in view.trials.values() if trial.outcome)
                    assert view.states == ends
                    assert view.ended_epochs == sum(trial.outcome.epochs for trial in view.trials.values() if trial.outcome)
                    assert view.running == {number for number, trial in view.trials.items() if trial.outcome is None}
                    assert view.epochs_trained == sum(view.epochs_recorded(number) for number in view.trials)
                    seen.append(view.finished)
            except Exception as error:
                problems.append(error)
                return

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    try:
        reader.start()
        for number in range(1500):
            proposed = CANDIDATES[number % len(CANDIDATES)]
            view.apply(started(number, proposed=proposed))
            view.apply(epoch(number, 1))
            view.apply(epoch(number, 2))
            view.apply(finished(number % len(CANDIDATES)).model_copy(update={"trial": number}))
    finally:
        done.set()
        reader.join()
        sys.setswitchinterval(before)
    assert problems == []
    assert len(set(seen)) > 3


# What trainings wait for, and why their workers died.


def test_a_wait_holds_until_the_training_goes_on() -> None:
    before = [StudyOpened(resumed=False), started(0), started(1)]
    waits = TrialWaits(trial=0, why="1 CPU")
    view = fold([*before, waits])
    assert view.waiting == {0: waits}
    assert not view.apply(TrialWaits(trial=0, why="1 CPU"))
    assert view.apply(TrialWaits(trial=0, why="1 GPU"))
    for goes_on in (TrialWaits(trial=0, why=None), epoch(0, 1), measured(0), started(0, 2), StudyOpened(resumed=True)):
        assert fold([*before, waits, goes_on]).waiting == {}
    assert not fold(before).apply(TrialWaits(trial=0, why=None))


def test_why_a_worker_died_is_known_while_its_trial_is_in_training() -> None:
    view = fold([StudyOpened(resumed=False), started(0), started(0, 2, died="killed"), epoch(0, 1)])
    assert view.died == {0: "killed"}
    view.apply(StudyOpened(resumed=True))
    assert view.died == {}


def test_a_start_of_an_earlier_ledger_has_no_reason() -> None:
    line = started(0, 2, died="password=abc1234567 killed").model_dump_json()
    assert "abc1234567" not in line
    read = EVENT.validate_json(line.replace(',"died":"password=*** killed"', ""))
    assert isinstance(read, TrialStarted)
    assert read.died is None
