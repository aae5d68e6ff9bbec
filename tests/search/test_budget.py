"""When a study stops: after hours, epochs, or when the hypervolume stands still; a resume knows it from the records."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from studies import StudyBench, landscape, learning, manifest_of, new_folder, space_of

from cbam_search.records.events import (
    EpochFinished,
    Event,
    FrontUpdated,
    StudyClosed,
    StudyExtended,
    StudyOpened,
    TrialFinished,
)
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.records.view import StudyView
from cbam_search.search.budget import Budgets, Spent, budget_ended
from cbam_search.search.config import SearchConfig, StopConfig
from cbam_search.search.proposer import NoCandidate

SPACE = space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7], pools={"from": ["avg", "max"]})


def config(**stop: object) -> StopConfig:
    return StopConfig.model_validate(stop)


def ended(
    stop: StopConfig, *, seconds: float = 0.0, epochs: int = 0, hypervolumes: tuple[float | None, ...] = ()
) -> str | None:
    found = budget_ended(stop, Spent(seconds, epochs, hypervolumes))
    return found.reason if found else None


def test_nothing_is_bounded_by_default() -> None:
    assert ended(config(), seconds=1e9, epochs=10**9, hypervolumes=(0.5,) * 1000) is None


def test_hours_and_epochs() -> None:
    assert ended(config(hours=2), seconds=7199.9) is None
    assert ended(config(hours=2), seconds=7200.0) == "hours"
    assert ended(config(epochs=100), epochs=99) is None
    assert ended(config(epochs=100), epochs=100) == "epochs"


@pytest.mark.parametrize(
    ("hypervolumes", "over"),
    [
        ((0.5, 0.5, 0.5), False),  # three trainings: nothing yet to compare the last with
        ((0.5, 0.5, 0.5, 0.5), True),
        ((0.5, 0.5, 0.5, 0.51), False),
        ((0.5, 0.5, 0.51, 0.51), False),
        ((0.5, 0.51, 0.51, 0.51, 0.5104), True),
        ((0.5, 0.51, 0.51, 0.51, 0.5152), False),
        ((None, 0.5, 0.5, 0.5), False),
        ((None, 0.5, 0.5, 0.5, 0.5), True),
        ((0.0, 0.0, 0.0, 0.0), True),
        ((0.0, 0.0, 0.0, 1e-9), False),
    ],
)
def test_a_hypervolume_that_stands_still(hypervolumes: tuple[float | None, ...], over: bool) -> None:
    rule = config(hypervolume={"improves_less_than": 0.01, "over_trials": 3})
    assert (ended(rule, hypervolumes=hypervolumes) == "hypervolume") is over


def view_of(events: Iterable[Event]) -> StudyView:
    view = StudyView()
    for event in events:
        view.apply(event)
    return view


def opened(at: float, *, resumed: bool = False) -> StudyOpened:
    return StudyOpened(resumed=resumed, time_seconds=at)


def epoch(trial: int, number: int, at: float) -> EpochFinished:
    return EpochFinished(trial=trial, attempt=1, epoch=number, metrics={}, seconds=1.0, time_seconds=at)


def test_hours_are_those_of_all_drivers_and_of_no_one_between_them() -> None:
    events: list[Event] = [
        opened(0.0),
        epoch(0, 1, 60.0),
        StudyClosed(reason="interrupted", message="", time_seconds=100.0),
        opened(1000.0, resumed=True),
        epoch(0, 2, 1040.0),  # then killed: nobody closed it
        opened(5000.0, resumed=True),
    ]
    now = [5010.0]
    budgets = Budgets(config(hours=0.1), view_of(events), clock=lambda: now[0])
    assert budgets.spent.seconds == 100.0 + 40.0 + 10.0
    assert budgets.ended() is None
    now[0] = 5220.0
    assert budgets.ended() is not None
    now[0] = 4990.0  # a clock that was set back
    assert budgets.spent.seconds == 140.0


def test_what_comes_twice_after_a_crash_counts_once() -> None:
    view = StudyView()
    budgets = Budgets(config(epochs=10), view, clock=lambda: 0.0)
    done = Outcome(state=TrialState.COMPLETE)
    for event in (
        opened(0.0),
        *(epoch(trial, number, 1.0) for trial in (0, 1) for number in (1, 2, 3)),
        epoch(1, 2, 1.0),
        epoch(1, 3, 1.0),
        TrialFinished(trial=0, outcome=done),
        FrontUpdated(front=(0,), hypervolume=0.5, changed=True, complete=1),
        TrialFinished(trial=0, outcome=done),
        FrontUpdated(front=(0,), hypervolume=0.5, changed=False, complete=1),
        TrialFinished(trial=1, outcome=done),
        FrontUpdated(front=(0, 1), hypervolume=0.6, changed=True, complete=2),
    ):
        view.apply(event)
    assert budgets.spent.epochs == 6
    assert list(budgets.spent.hypervolumes) == [0.5, 0.6]


def test_a_study_that_ended_by_its_hypervolume_stays_ended() -> None:
    """Trainings that were under way may have improved it since."""
    message = "the hypervolume improved by less than 0.1 % over 30 trainings"
    closed = StudyClosed(reason="hypervolume", message=f"{message}; 45 of at most 100 trainings are done; 2 of 45 replayed")
    events: list[Event] = [opened(0.0), closed, opened(10.0, resumed=True)]
    found = Budgets(config(hypervolume={}), view_of(events), clock=lambda: 10.0).ended()
    assert found is not None
    assert (found.reason, found.message) == ("hypervolume", message)


def test_what_stood_still_before_an_extension_is_forgotten() -> None:
    rule = config(hypervolume={"improves_less_than": 0.01, "over_trials": 2})
    view = StudyView()
    budgets = Budgets(rule, view, clock=lambda: 20.0)

    def trained(*trials: int) -> None:
        for trial in trials:
            view.apply(TrialFinished(trial=trial, outcome=Outcome(state=TrialState.COMPLETE)))
            view.apply(FrontUpdated(front=(0,), hypervolume=0.5, changed=False, complete=trial + 1))

    view.apply(opened(0.0))
    trained(0, 1, 2)
    assert budgets.ended() is not None
    view.apply(StudyClosed(reason="hypervolume", message="", time_seconds=5.0))
    view.apply(StudyExtended(trials=50, hours=None, time_seconds=10.0))
    view.apply(opened(10.0, resumed=True))
    assert budgets.ended() is None
    trained(3, 4)
    assert (list(budgets.spent.hypervolumes), budgets.ended()) == ([0.5, 0.5], None)
    trained(5)
    assert budgets.ended() is not None


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def bench_of(tmp_path: Path, stop: dict[str, object], clock: Clock | None = None, epochs: int = 4) -> StudyBench:
    search = SearchConfig.model_validate({"trials": 40, "sampler": "random", "stop": stop})
    folder = new_folder(tmp_path, manifest_of(trials=40, epochs=epochs))
    return StudyBench(folder, SPACE, search, clock=clock or Clock())


def reason_of(bench: StudyBench) -> str:
    assert bench.conductor.exhausted is NoCandidate.STOPPED
    assert bench.conductor.proposer.ended is not None
    return bench.conductor.proposer.ended.reason


def test_after_so_many_epochs_none_is_started_and_those_under_way_finish(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, {"epochs": 50})
    trained = bench.run_epochs(learning, workers=4)
    assert reason_of(bench) == "epochs"
    assert {trial.state for trial in trained} == {TrialState.COMPLETE}
    assert 50 <= 4 * len(trained) < 50 + 4 * 4


def test_epochs_are_counted_over_a_restart(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, {"epochs": 50})
    bench.run_epochs(learning, workers=4, at_most_epochs=42)
    bench.restart()
    bench.run_epochs(learning, workers=4)
    assert reason_of(bench) == "epochs"
    assert 50 <= 4 * bench.records.started < 50 + 4 * 4
    bench.restart()
    assert bench.conductor.next() is None
    assert reason_of(bench) == "epochs"


def test_hours_of_all_drivers_end_the_study(tmp_path: Path) -> None:
    clock = Clock()
    bench = bench_of(tmp_path, {"hours": 1}, clock)
    bench.records.ledger.append(opened(clock.now))

    def train(trial: Trial) -> Outcome:
        clock.now += 600
        return landscape(trial)

    assert len(bench.run(train, workers=1, at_most=4)) == 4
    bench.records.closed(StudyClosed(reason="interrupted", message="", time_seconds=clock.now))
    clock.now += 7 * 24 * 3600
    bench.restart()
    bench.records.ledger.append(opened(clock.now, resumed=True))
    assert len(bench.run(train, workers=1)) == 2
    assert reason_of(bench) == "hours"
    assert "search.stop.hours" in bench.conductor.proposer.ended.message  # type: ignore[union-attr]


def test_a_hypervolume_that_stands_still_ends_the_study(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, {"hypervolume": {"improves_less_than": 0.05, "over_trials": 5}})
    trained = bench.run(landscape, workers=1)
    assert 6 <= len(trained) < 40
    assert reason_of(bench) == "hypervolume"


def test_a_budget_bounds_no_more_than_it_says(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, {"epochs": 10_000, "hours": 1.0, "hypervolume": {"improves_less_than": 1e-9, "over_trials": 39}})
    assert len(bench.run(landscape)) == 40
    assert bench.conductor.exhausted is NoCandidate.BUDGET_USED
