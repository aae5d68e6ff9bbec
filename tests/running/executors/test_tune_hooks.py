"""Ray's contracts, without Ray: what Tune may ask and tell, who hears of it, and what Ray may copy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from cbam_search.running.executors.tune_hooks import (
    NoMoreTasks,
    TuneListener,
    TuneScheduler,
    TuneSearcher,
    TuneStopper,
    TuneWorkers,
)

RESULT = {"report": "{}", "done": False}


class Listener:
    """Hears all and answers as told. secret: what must not get out."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.task: dict[str, Any] | NoMoreTasks | None = None
        self.goes_on = True
        self.ends_now = False
        self.secret = Path("/the/study")

    def wanted(self, ray_id: str) -> dict[str, Any] | NoMoreTasks | None:
        self.heard.append(("wanted", ray_id))
        return self.task

    def reported(self, ray_id: str, result: dict[str, Any]) -> bool:
        self.heard.append(("reported", ray_id, result))
        return self.goes_on

    def ended(self, ray_id: str, result: dict[str, Any] | None, *, worker_died: bool) -> None:
        self.heard.append(("ended", ray_id, result, worker_died))

    def worker_lost(self, ray_id: str) -> None:
        self.heard.append(("worker_lost", ray_id))

    def has_worker(self, ray_id: str) -> None:
        self.heard.append(("has_worker", ray_id))

    def error(self, ray_id: str, told: str) -> None:
        self.heard.append(("error", ray_id, told))

    def interrupted(self) -> bool:
        return self.ends_now


class RayTrial:
    """As much of one as the hooks look at."""

    def __init__(self, trial_id: str, error_file: Path | None = None) -> None:
        self.trial_id = trial_id
        self.error_file = error_file and str(error_file)


@pytest.fixture
def listener() -> Listener:
    return Listener()


HOOKS: list[tuple[Callable[[TuneListener], Any], type]] = [
    (TuneSearcher, Searcher),
    (TuneScheduler, FIFOScheduler),
    (TuneWorkers, Callback),
    (TuneStopper, Stopper),
]


@pytest.mark.parametrize(("make", "kind"), HOOKS)
def test_ray_may_copy_and_pickle_each_and_gets_nothing(
    listener: Listener, make: Callable[[TuneListener], Any], kind: type
) -> None:
    hook = make(listener)
    assert isinstance(hook, kind)
    assert copy.deepcopy(hook) is hook
    assert copy.deepcopy({"hook": [hook]})["hook"][0] is hook
    pickled = pickle.dumps(hook)
    assert b"study" not in pickled
    assert b"Listener" not in pickled
    assert type(pickle.loads(pickled)) is kind


def test_the_searcher_writes_nothing(listener: Listener, tmp_path: Path) -> None:
    TuneSearcher(listener).save_to_dir(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_searcher_asks_for_each_trial(listener: Listener) -> None:
    searcher = TuneSearcher(listener)
    assert searcher.suggest("a") is None
    listener.task = {"task": "{}"}
    assert searcher.suggest("b") == {"task": "{}"}
    listener.task = NoMoreTasks()
    assert searcher.suggest("c") == Searcher.FINISHED
    assert listener.heard == [("wanted", "a"), ("wanted", "b"), ("wanted", "c")]


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("result", [None, {}, RESULT])
def test_ends_are_passed_on(listener: Listener, result: dict[str, Any] | None, error: bool) -> None:
    TuneSearcher(listener).on_trial_complete("a", result, error=error)
    assert listener.heard == [("ended", "a", result, error)]


@pytest.mark.parametrize(("goes_on", "decision"), [(True, TrialScheduler.CONTINUE), (False, TrialScheduler.STOP)])
def test_the_scheduler_does_as_it_is_told(listener: Listener, goes_on: bool, decision: str) -> None:
    listener.goes_on = goes_on
    assert TuneScheduler(listener).on_trial_result(None, RayTrial("a"), RESULT) == decision  # type: ignore[arg-type]
    assert listener.heard == [("reported", "a", RESULT)]


def test_a_worker_that_is_replaced_is_told_of(listener: Listener) -> None:
    TuneWorkers(listener).on_trial_recover(3, [], RayTrial("a"))  # type: ignore[arg-type]
    assert listener.heard == [("worker_lost", "a")]


def test_a_trial_that_gets_a_worker_is_told_of(listener: Listener) -> None:
    TuneWorkers(listener).on_trial_start(3, [], RayTrial("a"))  # type: ignore[arg-type]
    assert listener.heard == [("has_worker", "a")]


def test_the_last_error_of_a_trial_is_told_of(listener: Listener, tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1 (occurred at now)\nfirst\nFailure # 2 (occurred at now)\nsecond\nline\n")
    TuneScheduler(listener).on_trial_error(None, RayTrial("a", file))  # type: ignore[arg-type]
    TuneScheduler(listener).on_trial_error(None, RayTrial("b", tmp_path / "none"))  # type: ignore[arg-type]
    assert listener.heard == [("error", "a", "second\nline\n"), ("error", "b", "")]


def test_all_ends_once_it_is_interrupted(listener: Listener) -> None:
    stopper = TuneStopper(listener)
    assert not stopper.stop_all()
    listener.ends_now = True
    assert stopper.stop_all()
    assert not stopper("a", RESULT), "a single result ends no trial"
