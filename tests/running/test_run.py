"""The driver's loop between conductor and executor, and what keeps it from going on."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.durable import write_once
from cbam_search.errors import LeaseLostError, RecordsError
from cbam_search.records.driver import lease_file
from cbam_search.records.lease import take_lease
from cbam_search.records.study_records import open_records
from cbam_search.records.trials import TrialState
from cbam_search.running.executors.simulated import SimulatedExecutor, Steps
from cbam_search.running.run import run_trials
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.search.config import SearchConfig
from cbam_search.search.proposer import NoCandidate
from cbam_search.training.epoch import Epoch


@pytest.fixture
def bench(tmp_path: Path) -> StudyBench:
    config = SearchConfig(trials=6, sampler="random")
    return StudyBench(new_folder(tmp_path, manifest_of(trials=6)), space_of(), config)


def trained(bench: StudyBench, task: EvaluationTask) -> Steps:
    trial = next(trial for trial in bench.records.trials.values() if trial.evaluation == task.evaluation)
    yield 1.0, WorkerReport(Epoch(1, {"accuracy": 0.5}, 1.0))
    yield 1.0, WorkerReport(Epoch(2, {"accuracy": 0.6}, 1.0), outcome=landscape(trial))


def test_it_runs_until_the_budget_is_used(bench: StudyBench) -> None:
    executor = SimulatedExecutor(lambda task: trained(bench, task), workers=2)
    assert run_trials(bench.conductor, executor) is False
    assert bench.conductor.exhausted is NoCandidate.BUDGET_USED
    assert {trial.state for trial in bench.records.trials.values() if trial.was_trained} == {TrialState.COMPLETE}
    assert executor.clock() == 6.0  # three times two trials of two epochs


def test_interrupted_it_starts_nothing_more_and_leaves_what_runs_unfinished(bench: StudyBench) -> None:
    looks = iter(range(100))
    executor = SimulatedExecutor(lambda task: trained(bench, task), workers=2)
    assert run_trials(bench.conductor, executor, lambda: next(looks) > 4) is True
    states = [trial.state for trial in bench.records.trials.values()]
    assert TrialState.RUNNING in states
    assert TrialState.COMPLETE in states
    assert executor.running == frozenset()


def test_what_the_driver_could_not_keep_ends_the_study_and_no_trial(bench: StudyBench) -> None:
    def full(_task: EvaluationTask) -> Steps:
        yield 1.0, WorkerReport(problem="the study's folder cannot be read or written: No space left on device")

    with pytest.raises(RecordsError, match="No space left on device"):
        run_trials(bench.conductor, SimulatedExecutor(full, workers=1))
    assert {trial.state for trial in bench.records.trials.values()} == {TrialState.RUNNING}


def test_a_worker_that_dies_means_another_attempt(bench: StudyBench) -> None:
    deaths: set[str] = set()

    def deadly(task: EvaluationTask) -> Steps:
        if task.evaluation not in deaths:
            deaths.add(task.evaluation)
            yield 1.0, None
        yield from trained(bench, task)

    run_trials(bench.conductor, SimulatedExecutor(deadly, workers=2))
    assert [trial.attempts for trial in bench.records.trials.values() if trial.was_trained] == [2] * 6
    assert bench.records.started == 6


def test_a_driver_whose_study_was_taken_over_writes_nothing_more(bench: StudyBench) -> None:
    """It slept, and another machine, which sees no lock of this one, took the study over."""
    folder = bench.folder
    bench.records.close()
    with take_lease(folder) as lease:
        bench.records = open_records(folder, None, check=lease.check)
        bench.conductor.records = bench.conductor.proposer.records = bench.records
        executor = SimulatedExecutor(lambda task: trained(bench, task), workers=2)

        def taken_over() -> bool:
            if any(trial.outcome for trial in bench.records.trials.values()):
                write_once(lease_file(folder, lease.generation + 1), lease_file(folder, lease.generation).read_bytes())
                before.append(folder.ledger.read_bytes())
            return False

        before: list[bytes] = []
        with pytest.raises(LeaseLostError, match="took over the study"):
            run_trials(bench.conductor, executor, taken_over)
    assert folder.ledger.read_bytes() == before[0]


def test_a_driver_that_was_taken_over_hears_so_from_its_workers_too(bench: StudyBench) -> None:
    folder = bench.folder
    bench.records.close()
    with take_lease(folder) as lease:
        bench.records = open_records(folder, None, check=lease.check)
        bench.conductor.records = bench.conductor.proposer.records = bench.records

        def refused(_task: EvaluationTask) -> Steps:
            write_once(lease_file(folder, lease.generation + 1), lease_file(folder, lease.generation).read_bytes())
            yield 1.0, WorkerReport(problem="another driver took over")

        with pytest.raises(LeaseLostError):
            run_trials(bench.conductor, SimulatedExecutor(refused, workers=1))


def test_proposer_and_rungs_write_no_records(bench: StudyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They decide. Only the conductor writes; all that the proposer leaves is in Optuna's own study."""
    written = bench.folder.ledger.read_bytes()
    for name in ("start", "start_again", "skip", "finish", "measured", "epoch", "settle", "fix_references", "_set"):
        monkeypatch.delattr(type(bench.records), name)
    proposals = [bench.conductor.proposer.propose() for _ in range(5)]
    assert all(not isinstance(proposal, NoCandidate) for proposal in proposals)
    assert bench.folder.ledger.read_bytes() == written
    assert bench.records.trials == {}
