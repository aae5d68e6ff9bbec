"""A cost that trials measure: where its axis ends, what Optuna is told beyond its bound, and the same after a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from studies import OBJECTIVES, StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.architecture import Architecture, published
from cbam_search.cost.model import CostModel
from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.events import FrontUpdated
from cbam_search.records.ledger import read_events
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.results import write_result
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.search.config import SearchConfig
from cbam_search.search.reference import BEYOND_THE_WORST, FIRST_COMPLETE, objective_axes
from cbam_search.search.telling import CONSTRAINT_ATTRIBUTE

SPACE = space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7])
DESIGNS = tuple(published(backbone, kind) for backbone in SPACE.backbones[:2] for kind in (None, "se"))


def axes(reference: float | None = None) -> tuple[ObjectiveAxis, ...]:
    return OBJECTIVES[0], ObjectiveAxis(name=LATENCY, direction="min", reference=reference, ideal=0.0)


def bench_of(tmp_path: Path, *, reference: float | None = None, trials: int = 10, **options: object) -> StudyBench:
    folder = new_folder(tmp_path, manifest_of(axes(reference), trials=trials))
    return StudyBench(folder, SPACE, SearchConfig(trials=trials, sampler="random"), **options)  # type: ignore[arg-type]


def latency_of(architecture: Architecture) -> float:
    return 1.0 + 0.5 * sum(spec is not None for spec in architecture.attention)


def timed(trial: Trial) -> Outcome:
    outcome = landscape(trial)
    measured = {LATENCY: Measured(value=latency_of(trial.candidate.architecture), standard_error=0.1)}
    return outcome.model_copy(update={"metrics": outcome.metrics | measured})


def timed_within(at_most: float) -> object:
    def train(trial: Trial) -> Outcome:
        outcome = timed(trial)
        if outcome.metrics[LATENCY].value <= at_most:
            return outcome
        metrics = {LATENCY: outcome.metrics[LATENCY]}
        return Outcome(state=TrialState.INFEASIBLE, metrics=metrics, reason="latency_ms is above")

    return train


def hypervolumes(bench: StudyBench) -> list[float | None]:
    return [event.hypervolume for event, _ in read_events(bench.folder.ledger) if isinstance(event, FrontUpdated)]


def test_the_axis_ends_above_the_slowest_published_design_once_all_have_ended(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, published=DESIGNS)
    bench.run(timed, workers=1, at_most=len(DESIGNS) - 1)
    assert bench.records.manifest.objectives == axes()
    bench.run(timed, workers=1, at_most=1)
    expected = BEYOND_THE_WORST * max(map(latency_of, DESIGNS))
    assert bench.records.manifest.objectives == axes(expected)
    bench.run(timed)
    assert bench.folder.read_manifest().objectives == axes(expected)
    known = hypervolumes(bench)
    assert known[: len(DESIGNS) - 1] == [None] * (len(DESIGNS) - 1)
    assert None not in known[len(DESIGNS) - 1 :]
    assert known[len(DESIGNS) - 1 :] == sorted(known[len(DESIGNS) - 1 :])


def test_published_designs_that_ended_otherwise_are_not_waited_for(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, published=DESIGNS)

    def train(trial: Trial) -> Outcome:
        broken = trial.candidate.digest == DESIGNS[1].digest
        return Outcome(state=TrialState.FAILED, reason="an error") if broken else timed(trial)

    bench.run(train, workers=1, at_most=len(DESIGNS))
    others = [latency_of(design) for design in DESIGNS if design is not DESIGNS[1]]
    assert bench.records.manifest.objectives == axes(BEYOND_THE_WORST * max(others))


@pytest.mark.parametrize("trials", [FIRST_COMPLETE + 3, FIRST_COMPLETE - 2])
def test_without_published_designs_the_first_complete_trials_say_it(tmp_path: Path, trials: int) -> None:
    bench = bench_of(tmp_path, trials=trials)
    needed = min(FIRST_COMPLETE, trials)
    first = bench.run(timed, workers=1, at_most=needed)
    expected = BEYOND_THE_WORST * max(latency_of(trial.candidate.architecture) for trial in first)
    assert bench.records.manifest.objectives == axes(expected)
    assert hypervolumes(bench)[: needed - 1] == [None] * (needed - 1)
    bench.run(timed)
    assert bench.records.manifest.objectives == axes(expected)


def test_a_resumed_study_reads_the_same_end(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, published=DESIGNS)
    bench.run(timed, workers=1, at_most=6)
    before = bench.records.manifest.objectives
    bench.restart()
    slow = {LATENCY: Measured(value=99.0)}
    bench.run(lambda trial: timed(trial).model_copy(update={"metrics": timed(trial).metrics | slow}))
    assert bench.records.manifest.objectives == before == bench.folder.read_manifest().objectives


def test_a_driver_that_died_with_the_last_published_design_fixes_it_when_it_comes_back(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, published=DESIGNS[:1])
    trial = bench.conductor.next()
    assert isinstance(trial, Trial)
    bench.folder.evaluation(trial.evaluation).mkdir(parents=True)
    write_result(bench.folder.result(trial.evaluation), timed(trial))
    bench.restart()
    assert bench.records.manifest.objectives == axes(BEYOND_THE_WORST * latency_of(DESIGNS[0]))
    assert bench.records.front.hypervolume is not None


def test_a_candidate_beyond_the_bound_is_told_as_pruned_by_how_much(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, reference=2.0, measured_bounds={LATENCY: 2.0})
    trained = bench.run(timed_within(2.0))  # type: ignore[arg-type]
    assert len(trained) == 10
    beyond = [trial for trial in bench.records.trials.values() if trial.state is TrialState.INFEASIBLE]
    assert beyond
    told = {trial.number: trial for trial in bench.records.storage.get_all_trials(bench.records.optuna_study_id)}
    for trial in beyond:
        assert told[trial.number].state is OptunaState.PRUNED
        excess = told[trial.number].system_attrs[CONSTRAINT_ATTRIBUTE]
        assert excess == pytest.approx(trial.outcome.metrics[LATENCY].value / 2.0 - 1.0)
        assert trial.number not in bench.records.front.ranks
    complete = [trial for trial in bench.records.trials.values() if trial.state is TrialState.COMPLETE and trial.was_trained]
    assert all(trial.values[LATENCY] <= 2.0 for trial in complete)


def test_a_duplicate_of_one_beyond_the_bound_is_told_the_same(tmp_path: Path) -> None:
    space = space_of(kind=["none", "se"], per="network", reduction_ratio=[2])
    folder = new_folder(tmp_path, manifest_of(axes(2.0), trials=8))
    bench = StudyBench(folder, space, SearchConfig(trials=8, sampler="random"), measured_bounds={LATENCY: 2.0})
    bench.run(timed_within(2.0))  # type: ignore[arg-type]
    told = {trial.number: trial for trial in bench.records.storage.get_all_trials(bench.records.optuna_study_id)}
    replayed = [
        (told[number], told[trial.outcome.duplicate_of])
        for number, trial in bench.records.trials.items()
        if trial.state is TrialState.DUPLICATE
        and bench.records.trials[trial.outcome.duplicate_of].state is TrialState.INFEASIBLE
        and told[number].state is OptunaState.PRUNED
    ]
    assert replayed
    for duplicate, twin in replayed:
        assert duplicate.system_attrs[CONSTRAINT_ATTRIBUTE] == twin.system_attrs[CONSTRAINT_ATTRIBUTE] > 0


def test_tpe_turns_away_from_slow_candidates(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = new_folder(tmp_path, manifest_of(axes(2.0), trials=40))
    bench = StudyBench(folder, SPACE, SearchConfig(trials=40, sampler="tpe"), measured_bounds={LATENCY: 2.0})
    trained = bench.run(timed_within(2.0), workers=1)  # type: ignore[arg-type]
    slow = [latency_of(trial.candidate.architecture) > 2.0 for trial in trained]
    assert np.mean(slow[:12]) > np.mean(slow[-12:])


def test_a_bound_is_the_end_of_the_axis_and_is_known_at_once() -> None:
    found = objective_axes(
        {"accuracy": "max", LATENCY: "min"},
        space=SPACE,
        cost=CostModel((8, 8)),
        bounds={LATENCY: 5.0},
        validation_labels=np.array([0, 1]),
    )
    assert (found[1].reference, found[1].ideal) == (5.0, 0.0)
