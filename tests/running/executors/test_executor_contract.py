"""What holds for every executor, whoever trains: in this process, under Ray Tune, simulated.

Trainings note each of their steps, so that it is seen what was trained, not only what was reported. An epoch is one step.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from processes import descendants_named
from watched_network import WatchedNetworks

from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.errors import ClaimLostError
from cbam_search.records.folder import StudyFolder
from cbam_search.records.inbox import Inbox
from cbam_search.records.results import read_epochs, read_result
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.cluster import TrialResources
from cbam_search.running.delivery import InboxCalls
from cbam_search.running.executors.executor import Executor, ExecutorEvent, Reported, Waits, WorkerLost, WorkersDied
from cbam_search.running.executors.inline import InlineExecutor
from cbam_search.running.executors.ray_tune import TuneExecutor
from cbam_search.running.executors.remote_inbox import inbox_beside_driver
from cbam_search.running.executors.simulated import SimulatedExecutor, Steps
from cbam_search.running.last_words import BYTES_KEPT
from cbam_search.running.worker import Worker, WorkerJob
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.training.config import TrainingConfig
from cbam_search.training.epoch import Epoch

EPOCHS = 4
AT_MOST_SECONDS = 120.0
"""For what is sure to come."""


class Bench(ABC):
    """Executors of one kind, all over the same study's folder. at_once: how many evaluations one of them runs."""

    at_once: int

    def __init__(self, parent: Path) -> None:
        self.folder = StudyFolder(parent / "study")
        self.folder.path.mkdir()
        self.networks = WatchedNetworks.in_folder(parent / "code")

    @abstractmethod
    def executor(self) -> AbstractContextManager[Executor]:
        """A new one, closed at the end."""

    def epochs_trained(self, evaluation: str) -> int:
        """Whoever trained them, and however often."""
        return self.networks.steps(evaluation)


class RealBench(Bench):
    """Workers that train. inbox: of the executor that was opened last."""

    inbox: InboxCalls

    def __init__(self, parent: Path, data: ImageData) -> None:
        super().__init__(parent)
        self.data = data
        recipe = TrainingConfig(epochs=EPOCHS, batch_size=len(data.train), lr=0.01)
        self.job = WorkerJob(recipe, threads=1, on_gpu=False, keep_weights=True, code=self.networks.code)


class InlineBench(RealBench):
    at_once = 1

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        inbox = self.inbox = Inbox(self.folder)
        with InlineExecutor(Worker(self.job, self.data, inbox), inbox) as executor:
            yield executor


class RayBench(RealBench):
    at_once = 2

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        resources = TrialResources(cpus=1.0, gpus=0.0, concurrent=2, max_concurrent=2)
        with inbox_beside_driver(self.folder, lambda: None) as inbox:
            self.inbox = inbox
            with TuneExecutor(self.data, self.job, inbox, resources, {}) as executor:
                yield executor


class SimulatedBench(Bench):
    at_once = 2

    def __init__(self, parent: Path) -> None:
        super().__init__(parent)
        self._trained: dict[str, int] = {}

    def executor(self) -> AbstractContextManager[Executor]:
        return SimulatedExecutor(self._steps, workers=2)

    def epochs_trained(self, evaluation: str) -> int:
        return self._trained.get(evaluation, 0)

    def _steps(self, task: EvaluationTask) -> Steps:
        name = task.evaluation
        for number in range(1, EPOCHS + 1):
            self._trained[name] = self._trained.get(name, 0) + 1
            if name.startswith("deadly") and self._trained[name] == 3:
                yield 1.0, None
            if name.startswith("failing") and number == 2:
                yield 1.0, WorkerReport(outcome=Outcome(state=TrialState.FAILED, reason="failing on purpose", epochs=1))
            ended = Outcome(state=TrialState.COMPLETE, epochs=EPOCHS) if number == EPOCHS else None
            yield 1.0, WorkerReport(Epoch(number, {"accuracy": 0.5}, 1.0), outcome=ended)


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load(DatasetConfig(source="digits", limit=100), seed=0)


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """For all tests here: its start costs seconds."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


REAL = [pytest.param("inline"), pytest.param("ray", marks=pytest.mark.slow)]
ALL = [*REAL, pytest.param("simulated")]
RAY = pytest.mark.parametrize("bench", [pytest.param("ray", marks=pytest.mark.slow)], indirect=True)
every_executor = pytest.mark.parametrize("bench", ALL, indirect=True)
with_workers = pytest.mark.parametrize("bench", REAL, indirect=True)


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "simulated":
        return SimulatedBench(tmp_path)
    data = request.getfixturevalue("digits")
    if request.param == "inline":
        return InlineBench(tmp_path, data)
    request.getfixturevalue("one_ray")
    return RayBench(tmp_path, data)


def follow(executor: Executor, enough: Callable[[list[ExecutorEvent]], bool]) -> list[ExecutorEvent]:
    """Events until there are enough."""
    happened: list[ExecutorEvent] = []
    until = time.monotonic() + AT_MOST_SECONDS
    while not enough(happened):
        assert time.monotonic() < until, f"no more than {happened}"
        happened += executor.events(0.5)
    return happened


def start(executor: Executor, bench: Bench, evaluation: str) -> list[ExecutorEvent]:
    """Once there is capacity; returns what happened meanwhile."""
    happened = follow(executor, lambda _: executor.capacity() > 0)
    executor.start(bench.networks.task(evaluation))
    return happened


def until_idle(executor: Executor) -> list[ExecutorEvent]:
    return follow(executor, lambda _: not executor.running)


def until_epoch(executor: Executor, number: int) -> list[ExecutorEvent]:
    """Until some evaluation has reported that epoch."""
    return follow(executor, lambda happened: any(report.epoch and report.epoch.epoch == number for report in reports(happened)))


def reports(happened: Sequence[ExecutorEvent], evaluation: str | None = None) -> list[WorkerReport]:
    found = [event for event in happened if isinstance(event, Reported)]
    return [event.report for event in found if evaluation is None or event.evaluation == evaluation]


def first_death(happened: Sequence[ExecutorEvent]) -> int:
    return next(number for number, event in enumerate(happened) if isinstance(event, WorkerLost))


def epochs_of(happened: Sequence[ExecutorEvent], evaluation: str) -> list[int]:
    return [report.epoch.epoch for report in reports(happened, evaluation) if report.epoch]


def check_complete(happened: Sequence[ExecutorEvent], evaluation: str) -> None:
    """Its epochs in order, then one end."""
    assert epochs_of(happened, evaluation) == list(range(1, EPOCHS + 1))
    *before, last = reports(happened, evaluation)
    assert not any(report.ended for report in before)
    assert last.outcome is not None
    assert (last.outcome.state, last.outcome.epochs) == (TrialState.COMPLETE, EPOCHS)


@every_executor
def test_an_evaluation_reports_its_epochs_in_order_and_then_its_end(bench: Bench) -> None:
    with bench.executor() as executor:
        assert executor.running == frozenset()
        start(executor, bench, "a")
        assert executor.running == {"a"}
        happened = until_idle(executor)
        check_complete(happened, "a")
        assert len(happened) == EPOCHS
        assert bench.epochs_trained("a") == EPOCHS


@with_workers
def test_what_was_trained_is_in_the_study_s_folder_before_its_end_is_told(bench: RealBench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "a")
        happened = until_idle(executor)
        last = reports(happened, "a")[-1]
        assert read_result(bench.folder.result("a")) == last.outcome
        assert read_epochs(bench.folder.epochs("a")) == [report.epoch for report in reports(happened, "a")]
        assert bench.folder.weights("a").stat().st_size > 0


@every_executor
def test_several_evaluations_run_as_many_at_once_as_fit(bench: Bench) -> None:
    names = ["a", "b", "c", "d", "e"]
    most, waiting, happened = 0, list(names), []
    with bench.executor() as executor:
        while waiting or executor.running:
            while waiting and executor.capacity() > 0:
                executor.start(bench.networks.task(waiting.pop(0)))
            most = max(most, len(executor.running))
            happened += executor.events(0.5)
    assert most == bench.at_once
    for name in names:
        check_complete(happened, name)
        assert bench.epochs_trained(name) == EPOCHS


@every_executor
def test_there_is_no_capacity_while_all_that_fit_run_and_again_when_one_has_ended(bench: Bench) -> None:
    names = "abc"[: bench.at_once]
    with bench.executor() as executor:
        happened = [event for name in names for event in start(executor, bench, name)]
        assert executor.capacity() == 0
        happened += until_epoch(executor, 1)
        assert executor.capacity() == 0
        happened += until_idle(executor)
        follow(executor, lambda _: executor.capacity() > 0)
    for name in names:
        check_complete(happened, name)


@every_executor
def test_a_stop_before_the_next_events_holds_the_evaluation_where_it_is(bench: Bench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "a")
        until_epoch(executor, 2)
        executor.stop("a")
        assert executor.running == frozenset()
        happened = start(executor, bench, "b") + until_idle(executor)
        check_complete(happened, "b")
    assert reports(happened, "a") == []
    assert bench.epochs_trained("a") == 2


@with_workers
def test_what_the_worker_of_a_stopped_evaluation_hands_over_is_refused(bench: RealBench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "a")
        until_epoch(executor, 2)
        claim = int(bench.folder.claim("a").read_text())
        bench.inbox.measured("a", claim, {})
        executor.stop("a")
        with pytest.raises(ClaimLostError):
            bench.inbox.measured("a", claim, {})
    assert not bench.folder.checkpoint("a").exists()
    assert not bench.folder.result("a").exists()


@every_executor
def test_one_of_several_is_stopped_and_the_others_go_on(bench: Bench) -> None:
    names = "abc"[: bench.at_once]
    with bench.executor() as executor:
        before = [event for name in names for event in start(executor, bench, name)]
        before += follow(executor, lambda now: bool(epochs_of([*before, *now], "a")))
        executor.stop("a")
        after = until_idle(executor)
    assert reports(after, "a") == []
    assert len(epochs_of(before, "a")) <= bench.epochs_trained("a") < EPOCHS
    for name in names[1:]:
        check_complete([*before, *after], name)


@every_executor
def test_once_no_more_tasks_come_what_runs_ends_as_ever(bench: Bench) -> None:
    with bench.executor() as executor:
        happened = start(executor, bench, "a")
        executor.no_more_tasks()
        happened += until_idle(executor)
        check_complete(happened, "a")
        assert list(executor.events(0.1)) == []


@every_executor
def test_none_needs_to_come_at_all(bench: Bench) -> None:
    with bench.executor() as executor:
        executor.no_more_tasks()
        assert until_idle(executor) == []


@every_executor
def test_tasks_may_be_a_while_in_coming(bench: Bench) -> None:
    """Where the driver has none at the moment, and later has."""
    with bench.executor() as executor:
        for _ in range(5):
            assert list(executor.events(0.1)) == []
        while executor.capacity() == 0:
            assert list(executor.events(0.5)) == []
        # It is not told "not yet" in between, whereupon it might look elsewhere for seconds.
        for _ in range(5):
            assert list(executor.events(0.0)) == []
            assert executor.capacity() > 0
        start(executor, bench, "a")
        check_complete(until_idle(executor), "a")


@every_executor
def test_after_an_interruption_nothing_runs_and_none_is_taken(bench: Bench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "a")
        until_epoch(executor, 1)
        executor.interrupt()
        assert executor.capacity() == 0
        until_idle(executor)
        assert executor.capacity() == 0
    assert bench.epochs_trained("a") < EPOCHS


@with_workers
def test_an_interrupted_evaluation_goes_on_with_the_next_epoch(bench: RealBench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "a")
        until_epoch(executor, 2)
        executor.interrupt()
        until_idle(executor)
    known = [epoch.epoch for epoch in read_epochs(bench.folder.epochs("a"))]
    assert known in ([1, 2], [1, 2, 3])
    assert bench.folder.checkpoint("a").exists()
    with bench.executor() as executor:
        start(executor, bench, "a")
        happened = until_idle(executor)
    assert epochs_of(happened, "a") == list(range(known[-1] + 1, EPOCHS + 1))
    assert [report.outcome.state for report in reports(happened, "a") if report.outcome] == [TrialState.COMPLETE]
    assert bench.epochs_trained("a") == EPOCHS


@RAY
def test_an_interruption_waits_for_an_epoch_that_takes_long(bench: RealBench) -> None:
    """Longer than Tune lets workers take once it ends."""
    with bench.executor() as executor:
        start(executor, bench, "slow")
        until_epoch(executor, 1)
        follow(executor, lambda _: bench.epochs_trained("slow") == 2)
        executor.interrupt()
        happened = until_idle(executor)
    assert epochs_of(happened, "slow") == [2]
    assert [epoch.epoch for epoch in read_epochs(bench.folder.epochs("slow"))] == [1, 2]
    assert bench.folder.checkpoint("slow").exists()


@with_workers
def test_an_evaluation_whose_end_is_on_disk_is_not_trained_again(bench: RealBench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "a")
        first = reports(until_idle(executor), "a")
    with bench.executor() as executor:
        start(executor, bench, "a")
        again = reports(until_idle(executor), "a")
    assert [report.outcome for report in again] == [first[-1].outcome]
    assert bench.epochs_trained("a") == EPOCHS


@every_executor
def test_a_training_that_fails_has_ended(bench: Bench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "failing")
        happened = until_idle(executor)
        assert epochs_of(happened, "failing") == [1]
        outcome = reports(happened, "failing")[-1].outcome
        assert outcome is not None
        assert outcome.state is TrialState.FAILED
        assert "failing on purpose" in (outcome.reason or "")
        start(executor, bench, "a")
        check_complete(until_idle(executor), "a")


@with_workers
def test_the_traceback_of_a_training_that_failed_is_kept(bench: RealBench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "failing")
        until_idle(executor)
    traceback = bench.folder.error("failing").read_text()
    assert traceback.startswith("Traceback")
    assert "RuntimeError: failing on purpose" in traceback


@with_workers
def test_a_full_disk_is_told_and_loses_nothing(bench: RealBench) -> None:
    bench.folder.evaluation("a").mkdir(parents=True)
    bench.folder.epochs("a").symlink_to("/dev/full")
    with bench.executor() as executor:
        start(executor, bench, "a")
        happened = until_idle(executor)
    *_, last = reports(happened, "a")
    assert last.problem == "the study's folder cannot be read or written: No space left on device"
    assert last.outcome is None
    assert not bench.folder.result("a").exists()
    bench.folder.epochs("a").unlink()
    with bench.executor() as executor:
        start(executor, bench, "a")
        check_complete(until_idle(executor), "a")


@with_workers
def test_an_interruption_on_a_full_disk_ends_all_the_same(bench: RealBench) -> None:
    bench.folder.evaluation("a").mkdir(parents=True)
    bench.folder.epochs("a").symlink_to("/dev/full")
    with bench.executor() as executor:
        start(executor, bench, "a")
        until_epoch(executor, 2)
        executor.interrupt()
        until_idle(executor)
    assert not bench.folder.checkpoint("a").exists()


@pytest.mark.parametrize("bench", [pytest.param("ray", marks=pytest.mark.slow), "simulated"], indirect=True)
def test_a_worker_that_dies_is_told_of_and_its_evaluation_goes_on(bench: Bench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "deadly")
        happened = until_idle(executor)
    assert [type(event) for event in happened if not isinstance(event, Reported)] == [WorkerLost]
    lost = first_death(happened)
    assert epochs_of(happened[:lost], "deadly") == [1, 2]
    # Nothing was handed over of it yet.
    check_complete(happened[lost:], "deadly")


@RAY
def test_after_a_worker_s_death_only_epochs_beyond_the_checkpoint_are_trained_again(bench: RealBench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "deadly")
        until_epoch(executor, 1)
        executor.interrupt()
        until_idle(executor)
    [*_, known] = read_epochs(bench.folder.epochs("deadly"))
    with bench.executor() as executor:
        start(executor, bench, "deadly")
        happened = until_idle(executor)
    after = happened[first_death(happened) :]
    assert epochs_of(after, "deadly") == list(range(known.epoch + 1, EPOCHS + 1))
    assert [epoch.epoch for epoch in read_epochs(bench.folder.epochs("deadly"))] == list(range(1, EPOCHS + 1))


@RAY
def test_a_wait_for_a_slot_that_others_hold_is_told_and_ends(bench: RealBench) -> None:
    @ray.remote(num_cpus=2)
    class Others:
        def hold(self) -> None:
            pass

    others = Others.remote()
    ray.get(others.hold.remote())
    with bench.executor() as executor:
        start(executor, bench, "a")
        happened = follow(executor, lambda happened: bool(happened))
        assert happened == [Waits("a", "1 CPU of the Ray cluster (0 of 2 CPUs free)")]
        ray.kill(others)
        happened = until_idle(executor)
    assert [event for event in happened if isinstance(event, Waits)] == [Waits("a", None)]
    check_complete(happened, "a")


@RAY
def test_an_evaluation_that_all_workers_die_with_is_given_up(bench: RealBench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "always_deadly")
        happened = until_idle(executor)
        assert [type(event) for event in happened] == [WorkerLost] * 3 + [WorkersDied]
        assert all("ended without a word" in event.death.reason for event in happened if not isinstance(event, Reported))
        start(executor, bench, "a")
        check_complete(until_idle(executor), "a")


@RAY
def test_the_reason_of_a_death_leads_to_the_line_that_caused_it(bench: RealBench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "aborting")
        happened = until_idle(executor)
    last = happened[-1]
    assert isinstance(last, WorkersDied)
    assert re.fullmatch(r"Fatal Python error: Aborted \(net\.py:\d+, in note_step\): .*beyond repair", last.death.reason)
    assert "in note_step" in last.death.details
    assert len(last.death.details.encode()) <= BYTES_KEPT


@RAY
def test_a_worker_that_cannot_be_started_says_why(bench: RealBench) -> None:
    bench.job = replace(bench.job, threads=-1)
    with bench.executor() as executor:
        start(executor, bench, "a")
        happened = until_idle(executor)
    last = happened[-1]
    assert isinstance(last, WorkersDied)
    assert last.death.reason == "RuntimeError: set_num_threads expects a positive integer"


@with_workers
@pytest.mark.parametrize("name", ["leaving", "interrupting"])
def test_what_is_meant_to_end_a_process_ends_its_evaluation_alone(bench: RealBench, name: str) -> None:
    """Where Ctrl-C can be the reader's, in this process, it stays that."""
    if isinstance(bench, InlineBench) and name == "interrupting":
        with bench.executor() as executor, pytest.raises(KeyboardInterrupt):
            start(executor, bench, name)
            until_idle(executor)
        return
    with bench.executor() as executor:
        start(executor, bench, name)
        happened = until_idle(executor)
        start(executor, bench, "a")
        check_complete(until_idle(executor), "a")
    outcome = reports(happened, name)[-1].outcome
    assert outcome is not None
    kind = "SystemExit" if name == "leaving" else "KeyboardInterrupt"
    assert re.fullmatch(rf"{kind} at net\.py:\d+(: 3)?", outcome.reason or "")


@RAY
@pytest.mark.parametrize("no_more", [False, True])
def test_a_worker_that_dies_between_two_evaluations_costs_none(bench: RealBench, no_more: bool) -> None:
    with bench.executor() as executor:
        start(executor, bench, "a")
        until_idle(executor)
        follow(executor, lambda _: executor.capacity() > 0)
        os.kill(bench.networks.worker("a"), signal.SIGKILL)
        executor.start(bench.networks.task("b"))
        if no_more:
            executor.no_more_tasks()
        happened = until_idle(executor)
    assert [type(event) for event in happened if not isinstance(event, Reported)] == [WorkerLost]
    check_complete(happened, "b")


@RAY
def test_the_inbox_may_die_and_nothing_is_lost(bench: RealBench) -> None:
    """Its process starts anew, calls are made again, and claims hold."""
    with bench.executor() as executor:
        start(executor, bench, "stopped")
        until_epoch(executor, 1)
        claim = int(bench.folder.claim("stopped").read_text())
        executor.stop("stopped")
        start(executor, bench, "a")
        happened = until_epoch(executor, 1)
        [inbox] = descendants_named(os.getpid(), "ray::Inbox")
        os.kill(inbox, signal.SIGKILL)
        with pytest.raises(ClaimLostError):
            bench.inbox.measured("stopped", claim, {})
        happened += until_idle(executor)
    check_complete(happened, "a")
    assert [epoch.epoch for epoch in read_epochs(bench.folder.epochs("a"))] == list(range(1, EPOCHS + 1))
    assert bench.epochs_trained("a") == EPOCHS


@RAY
@pytest.mark.parametrize("moment", ["at once", "wanted", "started", "under way", "stopped", "interrupted", "no more"])
def test_closing_leaves_no_thread_and_no_worker(bench: RealBench, moment: str) -> None:
    with bench.executor() as executor:
        if moment != "at once":
            follow(executor, lambda _: executor.capacity() > 0)
        if moment not in ("at once", "wanted"):
            executor.start(bench.networks.task("a"))
        if moment not in ("at once", "wanted", "started"):
            until_epoch(executor, 1)
        if moment == "stopped":
            executor.stop("a")
        if moment == "interrupted":
            executor.interrupt()
        if moment == "no more":
            executor.no_more_tasks()
        assert any(thread.name == "ray-tune" for thread in threading.enumerate())
    assert executor.running == frozenset()
    assert not any(thread.name == "ray-tune" for thread in threading.enumerate())
    deadline = time.monotonic() + AT_MOST_SECONDS
    while workers := descendants_named(os.getpid(), "ray::", "Trainable") + descendants_named(os.getpid(), "ray::Inbox"):
        assert time.monotonic() < deadline, f"still there: {workers}"
        time.sleep(0.1)


@every_executor
def test_closing_twice_does_no_harm(bench: Bench) -> None:
    with bench.executor() as executor:
        start(executor, bench, "a")
        executor.close()
        assert executor.running == frozenset()


@RAY
def test_an_error_of_the_driver_is_its_own(bench: RealBench) -> None:
    """What the driver's thread raises between two events goes up there, and no evaluation is told to have failed."""
    with suppress(ZeroDivisionError), bench.executor() as executor:
        start(executor, bench, "a")
        until_epoch(executor, 1)
        raise ZeroDivisionError
    assert not bench.folder.result("a").exists()
    with bench.executor() as executor:
        start(executor, bench, "a")
        happened = until_idle(executor)
    assert [report.outcome.state for report in reports(happened, "a") if report.outcome] == [TrialState.COMPLETE]
    assert bench.epochs_trained("a") == EPOCHS
