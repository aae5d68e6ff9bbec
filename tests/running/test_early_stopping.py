"""Searches that stop trials, without Ray: who is stopped, what the records say, and the same after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import OBJECTIVES, StudyBench, learning, manifest_of, new_folder, space_of

from cbam_search.architecture import published
from cbam_search.metrics import LATENCY, Measured, binomial_error
from cbam_search.records.events import EpochFinished, TrialFinished
from cbam_search.records.ledger import read_events
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.results import append_epochs
from cbam_search.records.trials import Origin, Trial, TrialState
from cbam_search.running.last_words import WorkerDeath
from cbam_search.search.config import SearchConfig
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION

SPACE = space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7], pools={"from": ["avg", "max"]})
DESIGNS = tuple(published(backbone, kind) for backbone in SPACE.backbones[:2] for kind in (None, "se", "cbam"))
EPOCHS = 27
VALIDATION_IMAGES = manifest_of().data.validation
LEVELS = (3, 9)


def bench_of(
    tmp_path: Path, *, trials: int = 40, scheduler: bool = True, axes: tuple[ObjectiveAxis, ...] = OBJECTIVES
) -> StudyBench:
    search = {"trials": trials, "sampler": "random", "scheduler": {"kind": "pareto_asha"} if scheduler else {}}
    manifest = manifest_of(axes, trials=trials, epochs=EPOCHS)
    return StudyBench(new_folder(tmp_path, manifest), SPACE, SearchConfig.model_validate(search), published=DESIGNS)


def epochs_of(bench: StudyBench) -> int:
    return sum(isinstance(event, EpochFinished) for event, _ in read_events(bench.folder.ledger))


def stopped(bench: StudyBench) -> list[Trial]:
    return [trial for trial in bench.records.trials.values() if trial.state is TrialState.STOPPED]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyBench:
    bench = bench_of(tmp_path_factory.mktemp("finished"))
    bench.run_epochs(learning)
    return bench


def test_a_search_stops_most_trials_and_finds_nearly_the_same_front(finished: StudyBench, tmp_path: Path) -> None:
    full, early = bench_of(tmp_path, scheduler=False), finished
    full.run_epochs(learning)
    assert epochs_of(early) < epochs_of(full) / 2
    assert early.records.front.hypervolume > 0.98 * full.records.front.hypervolume
    assert len(stopped(early)) > 15
    assert stopped(full) == []


def test_stopped_trials_are_recorded_with_their_epoch_and_apart_from_the_front(finished: StudyBench) -> None:
    bench = finished
    for trial in stopped(bench):
        assert trial.outcome is not None
        assert trial.outcome.epochs in LEVELS
        assert trial.outcome.values is None
        metrics = learning(trial, trial.outcome.epochs)
        error, images = binomial_error(metrics["accuracy"], VALIDATION_IMAGES), VALIDATION_IMAGES
        assert {name: entry.value for name, entry in trial.outcome.metrics.items()} == metrics
        assert trial.outcome.metrics["accuracy"] == Measured(value=metrics["accuracy"], standard_error=error, n=images)
        assert trial.outcome.seconds == pytest.approx(trial.outcome.epochs * trial.candidate.gflops)
        assert (trial.outcome.reason or "").startswith(f"at epoch {trial.outcome.epochs}, not among the best ")
        assert trial.number not in bench.records.front.ranks
    ends = [event.trial for event, _ in read_events(bench.folder.ledger) if isinstance(event, TrialFinished)]
    assert len(ends) == len(set(ends)) == 40


def test_published_designs_are_never_stopped_and_count_at_the_rungs(finished: StudyBench) -> None:
    bench = finished
    designs = [trial for trial in bench.records.trials.values() if trial.candidate.origin is Origin.PUBLISHED]
    assert len(designs) == len(DESIGNS)
    assert {trial.state for trial in designs} == {TrialState.COMPLETE}
    assert bench.conductor.rungs is not None
    for level in LEVELS:
        assert {trial.number for trial in designs} <= {record.trial for record in bench.conductor.rungs.records[level]}


def test_rungs_are_rebuilt_from_the_ledger(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.run_epochs(learning, at_most_epochs=220)
    assert bench.conductor.rungs is not None
    before = {level: list(records) for level, records in bench.conductor.rungs.records.items()}
    assert all(before.values())
    bench.restart()
    assert bench.conductor.rungs.records == before
    bench.run_epochs(learning)
    assert len(stopped(bench)) > 15
    for level, records in bench.conductor.rungs.records.items():
        assert records[: len(before[level])] == before[level]
        assert len({record.trial for record in records}) == len(records)


def test_a_verdict_that_a_crash_cut_off_is_made_good_before_anything_is_trained(tmp_path: Path) -> None:
    """Three trials reach the first rung; the driver dies between the last epoch there and its verdict."""
    bench = bench_of(tmp_path)
    bench.published = ()
    bench.restart()
    trials = [bench.conductor.next() for _ in range(3)]
    for trial, accuracy in zip(trials, (0.9, 0.5, 0.1), strict=True):
        assert trial is not None
        for epoch in (1, 2, 3):
            bench.conductor.epoch(trial.number, Epoch(epoch, {"accuracy": accuracy}, 0.1))
        if trial is not trials[-1]:
            assert bench.conductor.reason_to_stop(trial.number) is None
    bench.restart()
    again = [bench.conductor.next() for _ in range(3)]
    assert [trial.number for trial in again if trial] == [trials[0].number, trials[1].number, again[2].number]  # type: ignore[union-attr]
    ended = bench.records.trials[trials[2].number]  # type: ignore[union-attr]
    assert ended.outcome is not None
    assert (ended.state, ended.outcome.epochs) == (TrialState.STOPPED, 3)
    assert ended.outcome.reason == "at epoch 3, not among the best 1 of 3 there"


def test_who_was_let_past_a_rung_is_not_stopped_there_by_those_who_came_later(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.published = ()
    bench.restart()
    first, *others = (bench.conductor.next() for _ in range(6))
    assert first is not None
    for epoch in range(1, 5):
        bench.conductor.epoch(first.number, Epoch(epoch, {"accuracy": 0.2}, 0.1))
        assert bench.conductor.reason_to_stop(first.number) is None
    for trial in others:
        assert trial is not None
        for epoch in (1, 2, 3):
            bench.conductor.epoch(trial.number, Epoch(epoch, {"accuracy": 0.9}, 0.1))
    assert bench.conductor.reason_to_stop(first.number) is None
    bench.restart()
    assert bench.conductor.reason_to_stop(first.number) is None


def test_a_rung_that_only_the_worker_s_file_tells_of_counts_and_is_judged(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.published = ()
    bench.restart()
    trials = [bench.conductor.next() for _ in range(4)]
    for trial in trials[:3]:
        assert trial is not None
        for epoch in (1, 2, 3):
            bench.conductor.epoch(trial.number, Epoch(epoch, {"accuracy": 0.9}, 0.1))
    last = trials[3]
    assert last is not None
    bench.folder.evaluation(last.evaluation).mkdir(parents=True)
    for epoch in (1, 2, 3):
        append_epochs(bench.folder.epochs(last.evaluation), [Epoch(epoch, {"accuracy": 0.1}, 0.1)])
    bench.conductor.lost(last.number, WorkerDeath("killed"))
    assert bench.conductor.reason_to_stop(last.number) == "at epoch 3, not among the best 1 of 4 there"


def test_rungs_forget_trainings_that_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(tmp_path)
    bench.published = ()
    bench.restart()
    with monkeypatch.context() as patch:
        patch.setattr("cbam_search.records.study_records.NUMERICS_VERSION", NUMERICS_VERSION + 1)
        bench.records.opened(resumed=False)
    first, second = bench.conductor.next(), bench.conductor.next()
    for trial in (first, second):
        assert trial is not None
        for epoch in (1, 2, 3):
            bench.conductor.epoch(trial.number, Epoch(epoch, {"accuracy": 0.9}, 0.1))
    assert first is not None
    bench.conductor.stop(first.number, "for the test")
    bench.restart()
    assert bench.conductor.rungs is not None
    assert [record.trial for record in bench.conductor.rungs.records[3]] == [first.number]
    again = bench.conductor.next()
    assert again == bench.records.trials[second.number]  # type: ignore[union-attr]
    for epoch in (1, 2, 3):
        bench.conductor.epoch(again.number, Epoch(epoch, {"accuracy": 0.8}, 0.1))  # type: ignore[union-attr]
    assert [record.values[0] for record in bench.conductor.rungs.records[3]] == [0.9, 0.8]


def test_a_trial_at_its_last_epoch_is_never_stopped(finished: StudyBench) -> None:
    bench = finished
    assert bench.conductor.rungs is not None
    assert EPOCHS not in bench.conductor.rungs.records
    complete = [trial for trial in bench.records.trials.values() if trial.state is TrialState.COMPLETE and trial.was_trained]
    assert {trial.outcome.epochs for trial in complete if trial.outcome} == {EPOCHS}


@pytest.mark.parametrize("reference", [None, 4.0])
def test_latencies_are_ranked_with_their_spread(tmp_path: Path, reference: float | None) -> None:
    """Without a reference none is stopped until the published designs have fixed it."""
    axes = (OBJECTIVES[0], ObjectiveAxis(name=LATENCY, direction="min", reference=reference, ideal=0.0))
    bench = bench_of(tmp_path, axes=axes)
    fixed_after: list[int] = []

    def curve(trial: Trial, epoch: int) -> dict[str, float]:
        if bench.records.manifest.objectives[1].reference is None:
            assert stopped(bench) == []
            fixed_after.append(trial.number)
        return learning(trial, epoch)

    def meter(trial: Trial) -> dict[str, Measured]:
        return {LATENCY: Measured(value=1.0 + 1000 * trial.candidate.gflops, standard_error=0.05, n=5)}

    bench.run_epochs(curve, meter=meter)
    assert len(stopped(bench)) > 12
    assert bool(fixed_after) == (reference is None)
    assert bench.conductor.rungs is not None
    assert {record.tolerances for records in bench.conductor.rungs.records.values() for record in records} == {(0.0, 0.05)}
