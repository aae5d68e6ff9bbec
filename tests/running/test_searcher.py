"""Ray's Searcher contract, without Ray: what Tune may tell, and what the records then say."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from cbam_search.running.scheduler import StudyScheduler
from cbam_search.running.searcher import StudySearcher
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from studies import StudyBench, manifest_of, new_folder, space_of

from cbam_search.errors import RecordsError
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.search.config import SearchConfig

EPOCH: dict[str, Any] = {
    "epoch": 1,
    "metrics": {
        "train_loss": 1.0,
        "validation_loss": 1.0,
        "accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "macro_f1": 0.5,
        "learning_rate": 0.1,
    },
    "seconds": 0.5,
    "processor_seconds": 0.5,
    "measured": {},
}
BEHIND: dict[str, Any] = EPOCH | {"metrics": EPOCH["metrics"] | {"accuracy": 0.05}}


@pytest.fixture
def bench(tmp_path: Path) -> StudyBench:
    return StudyBench(new_folder(tmp_path, manifest_of(trials=3)), space_of(), SearchConfig(trials=3, sampler="random"))


def suggested(searcher: StudySearcher, ray_id: str) -> int:
    config: dict[str, Any] | None = searcher.suggest(ray_id)
    assert isinstance(config, dict)
    return int(config["trial"])


def done(outcome: Outcome) -> dict[str, Any]:
    return EPOCH | {"done": True, "outcome": outcome.model_dump_json()}


def test_a_completed_trial_has_its_last_epoch_and_its_values(bench: StudyBench) -> None:
    searcher = StudySearcher(bench.conductor)
    number = suggested(searcher, "a")
    searcher.on_trial_complete("a", done(Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.5}, epochs=1)))
    trial = bench.records.trials[number]
    assert trial.state is TrialState.COMPLETE
    assert trial.values == {"accuracy": 0.5, "gflops": trial.candidate.gflops}
    assert number in bench.records.front.ranks


def test_a_trial_that_a_scheduler_stops_is_stopped_and_not_on_the_front(bench: StudyBench) -> None:
    searcher = StudySearcher(bench.conductor)
    number = suggested(searcher, "a")
    searcher.on_trial_result("a", EPOCH)
    searcher.on_trial_complete("a", EPOCH | {"done": True})
    assert bench.records.trials[number].state is TrialState.STOPPED
    assert bench.records.front.members == ()


@pytest.mark.parametrize("result", [None, {}, EPOCH])
def test_a_worker_that_dies_for_good_fails_its_trial(bench: StudyBench, result: dict[str, Any] | None) -> None:
    searcher = StudySearcher(bench.conductor)
    number = suggested(searcher, "a")
    searcher.on_trial_complete("a", result, error=True)
    assert bench.records.trials[number].state is TrialState.FAILED


def test_after_an_interruption_trials_stay_unfinished_and_none_is_suggested(bench: StudyBench) -> None:
    searcher = StudySearcher(bench.conductor)
    number = suggested(searcher, "a")
    searcher.interrupted = True
    searcher.on_trial_complete("a", EPOCH)
    assert bench.records.trials[number].state is TrialState.RUNNING
    assert searcher.suggest("b") is None


def test_a_result_that_came_in_with_the_interruption_counts(bench: StudyBench) -> None:
    searcher = StudySearcher(bench.conductor)
    number = suggested(searcher, "a")
    searcher.interrupted = True
    searcher.on_trial_complete("a", done(Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.5}, epochs=1)))
    assert bench.records.trials[number].state is TrialState.COMPLETE


def test_the_end_is_told_to_ray(bench: StudyBench) -> None:
    searcher = StudySearcher(bench.conductor)
    for ray_id in "abc":
        suggested(searcher, ray_id)
        searcher.on_trial_complete(ray_id, done(Outcome(state=TrialState.DIVERGED, reason="nan")))
    assert searcher.suggest("d") == Searcher.FINISHED


def test_unknown_ids_change_nothing(bench: StudyBench) -> None:
    searcher = StudySearcher(bench.conductor)
    searcher.on_trial_complete("never", EPOCH)
    searcher.on_worker_lost("never")
    assert bench.records.trials == {}


def test_ray_may_copy_and_pickle_it_and_gets_nothing(bench: StudyBench, tmp_path: Path) -> None:
    searcher = StudySearcher(bench.conductor)
    assert copy.deepcopy(searcher) is searcher
    assert str(tmp_path).encode() not in pickle.dumps(searcher)
    searcher.save_to_dir(str(tmp_path))
    assert not list(tmp_path.glob("searcher-state*"))


def test_an_error_of_the_study_is_not_taken_for_one_of_the_trial(bench: StudyBench) -> None:
    searcher = StudySearcher(bench.conductor)
    number = suggested(searcher, "a")
    bench.records.ledger._file = Path("/dev/full").open("ab")  # noqa: SIM115
    searcher.on_trial_complete("a", done(Outcome(state=TrialState.DIVERGED, reason="nan")))
    assert isinstance(searcher.error, RecordsError)
    assert searcher.suggest("b") is None
    bench.restart()
    assert bench.records.trials[number].state is TrialState.RUNNING  # the worker's own result file tells the next driver


@pytest.fixture
def early(tmp_path: Path) -> StudyBench:
    """Stops at epoch 1 all but one in two."""
    scheduler = {"kind": "pareto_asha", "grace_period": 1, "reduction_factor": 2}
    search = SearchConfig.model_validate({"trials": 6, "sampler": "random", "scheduler": scheduler})
    return StudyBench(new_folder(tmp_path, manifest_of(trials=6, epochs=2)), space_of(), search)


class RayTrial:
    """As much of one as a scheduler looks at."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def asked(scheduler: StudyScheduler, ray_id: str, result: dict[str, Any]) -> str:
    return scheduler.on_trial_result(None, RayTrial(ray_id), result)  # type: ignore[arg-type]


def test_tune_is_told_to_stop_a_trial_that_is_behind_at_a_rung(early: StudyBench) -> None:
    searcher = StudySearcher(early.conductor)
    scheduler = StudyScheduler(searcher)
    first, second = suggested(searcher, "a"), suggested(searcher, "b")
    assert asked(scheduler, "a", EPOCH) == TrialScheduler.CONTINUE
    searcher.on_trial_result("a", EPOCH)
    assert asked(scheduler, "b", BEHIND) == TrialScheduler.STOP
    assert early.records.trials[second].state is TrialState.RUNNING  # until Tune says that it ended
    searcher.on_trial_complete("b", BEHIND | {"done": True})
    trial = early.records.trials[second]
    assert trial.outcome is not None
    assert (trial.state, trial.outcome.epochs, trial.outcome.seconds) == (TrialState.STOPPED, 1, 0.5)
    assert trial.outcome.reason == "at epoch 1, not among the best 1 of 2 there"
    assert trial.outcome.metrics["accuracy"].value == 0.05
    assert early.records.trials[first].state is TrialState.RUNNING


def test_a_trial_that_ended_by_itself_is_not_stopped(early: StudyBench) -> None:
    searcher = StudySearcher(early.conductor)
    scheduler = StudyScheduler(searcher)
    for ray_id in "ab":
        suggested(searcher, ray_id)
    assert asked(scheduler, "a", EPOCH) == TrialScheduler.CONTINUE
    ended = done(Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.05}, epochs=1)) | {"metrics": BEHIND["metrics"]}
    assert asked(scheduler, "b", ended) == TrialScheduler.CONTINUE


@pytest.mark.parametrize(("interrupted", "error"), [(True, False), (False, True)])
def test_a_verdict_holds_whatever_happens_on_the_way_out(early: StudyBench, interrupted: bool, error: bool) -> None:
    searcher = StudySearcher(early.conductor)
    scheduler = StudyScheduler(searcher)
    _, second = suggested(searcher, "a"), suggested(searcher, "b")
    asked(scheduler, "a", EPOCH)
    assert asked(scheduler, "b", BEHIND) == TrialScheduler.STOP
    searcher.interrupted = interrupted
    searcher.on_trial_complete("b", EPOCH, error=error)
    assert early.records.trials[second].state is TrialState.STOPPED


def test_an_error_in_a_verdict_is_the_study_s_and_stops_no_trial(early: StudyBench) -> None:
    searcher = StudySearcher(early.conductor)
    suggested(searcher, "a")
    early.conductor.rungs = "no rungs"  # type: ignore[assignment]
    assert asked(StudyScheduler(searcher), "a", EPOCH) == TrialScheduler.CONTINUE
    assert isinstance(searcher.error, AttributeError)


def test_ray_may_copy_and_pickle_the_scheduler_and_gets_nothing(early: StudyBench, tmp_path: Path) -> None:
    scheduler = StudyScheduler(StudySearcher(early.conductor))
    assert copy.deepcopy(scheduler) is scheduler
    assert str(tmp_path).encode() not in pickle.dumps(scheduler)
    assert asked(scheduler, "never", EPOCH) == TrialScheduler.CONTINUE
