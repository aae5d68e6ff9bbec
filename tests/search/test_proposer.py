"""The accounting of proposals: published designs first, no training twice, nothing infeasible trained, the end of a space."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from studies import OBJECTIVES, StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.architecture import published
from cbam_search.cost.model import CostModel
from cbam_search.errors import DataError
from cbam_search.records.events import FrontUpdated, TrialFinished, TrialStarted
from cbam_search.records.ledger import read_events
from cbam_search.records.results import write_result
from cbam_search.records.trials import Origin, Outcome, Trial, TrialState
from cbam_search.running import conductor
from cbam_search.search import proposer
from cbam_search.search.config import SearchConfig
from cbam_search.search.feasibility import excess
from cbam_search.search.proposer import NoCandidate
from cbam_search.search.published import published_designs
from cbam_search.search.reference import majority_scores, objective_axes

WIDE = space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7], pools={"from": ["avg", "max"]})
TINY = space_of(kind=["none", "se"], per="network")


def bench_of(tmp_path: Path, space: object = WIDE, **options: object) -> StudyBench:
    search = {"trials": 10, "sampler": "random"} | {k: options.pop(k) for k in ("trials", "sampler") if k in options}
    manifest = manifest_of(trials=search["trials"])
    return StudyBench(new_folder(tmp_path, manifest), space, SearchConfig.model_validate(search), **options)


def optuna_trials(bench: StudyBench) -> list[optuna.trial.FrozenTrial]:
    return bench.records.storage.get_all_trials(bench.records.optuna_study_id)


def test_published_designs_come_first_and_count(tmp_path: Path) -> None:
    designs = tuple(published(backbone, kind) for backbone in WIDE.backbones[:2] for kind in (None, "se", "cbam"))
    bench = bench_of(tmp_path, published=designs)
    trained = bench.run(landscape)
    assert len(trained) == 10
    by_number = sorted(trained, key=lambda trial: trial.number)
    assert [trial.candidate.digest for trial in by_number[:6]] == [design.digest for design in designs]
    assert [trial.candidate.origin for trial in by_number] == [Origin.PUBLISHED] * 6 + [Origin.SAMPLER] * 4
    outside = [trial for trial in by_number if not trial.candidate.in_space]
    assert outside
    told = {trial.number: trial.state for trial in optuna_trials(bench)}
    assert all(told[trial.number] is OptunaState.PRUNED for trial in outside)
    assert all(trial.number in bench.records.front.ranks for trial in outside)


def test_published_designs_beyond_a_bound_are_excluded_and_named() -> None:
    cost = CostModel((8, 8)).cost
    bound = {"gflops": cost(published(WIDE.backbones[0], "cbam")).gflops}
    designs = published_designs(WIDE, ["none", "se", "cbam"], at_most_backbones=9, cost=cost, bounds=bound)
    assert [design.label for design in designs.trained] == [WIDE.backbones[0].name + kind for kind in ("", "+se", "+cbam")]
    assert len(designs.excluded) == 9


def test_published_backbones_are_spread_from_cheap_to_costly() -> None:
    cost = CostModel((8, 8)).cost
    gflops = [cost(published(backbone, None)).gflops for backbone in WIDE.backbones]
    chosen = published_designs(WIDE, ["none"], at_most_backbones=2, cost=cost, bounds={}).trained
    assert [cost(design).gflops for design in chosen] == [min(gflops), max(gflops)]


def test_nothing_is_trained_twice_and_a_duplicate_replays(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, TINY, trials=8, sampler="tpe")
    trained = bench.run(landscape)
    digests = [trial.candidate.digest for trial in trained]
    assert len(digests) == len(set(digests)) == TINY.count() == 8
    duplicates = [trial for trial in bench.records.trials.values() if trial.state is TrialState.DUPLICATE]
    assert duplicates
    told = {trial.number: trial for trial in optuna_trials(bench)}
    replayed = [trial for trial in duplicates if told[trial.number].state is OptunaState.COMPLETE]
    assert replayed
    for trial in replayed:
        twin = bench.records.trials[trial.outcome.duplicate_of]
        assert told[trial.number].values == [twin.values["accuracy"], twin.values["gflops"]]
        assert twin.candidate.digest == trial.candidate.digest


def test_a_duplicate_of_a_running_trial_is_told_as_fail(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, TINY, trials=8)
    while not [trial for trial in bench.records.trials.values() if trial.state is TrialState.DUPLICATE]:
        assert bench.conductor.next() is not None
    told = {trial.number: trial.state for trial in optuna_trials(bench)}
    assert all(
        told[trial.number] is OptunaState.FAIL for trial in bench.records.trials.values() if trial.state is TrialState.DUPLICATE
    )


def test_an_exhausted_space_ends_the_study(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, TINY, trials=20)
    assert len(bench.run(landscape)) == TINY.count() == 8
    assert bench.conductor.exhausted is NoCandidate.SPACE_EXHAUSTED


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_infeasible_proposals_are_recorded_and_never_trained(tmp_path: Path, sampler: str) -> None:
    cost = CostModel((8, 8)).cost
    bounds = {"gflops": 1.1 * cost(published(WIDE.backbones[0], None)).gflops}
    bench = bench_of(tmp_path, bounds=bounds, sampler=sampler, trials=12)
    trained = bench.run(landscape)
    assert len(trained) == 12
    assert all(trial.candidate.gflops <= bounds["gflops"] for trial in trained)
    infeasible = [trial for trial in bench.records.trials.values() if trial.state is TrialState.INFEASIBLE]
    assert infeasible
    assert all("gflops" in trial.outcome.reason for trial in infeasible)
    told = {trial.number: trial for trial in optuna_trials(bench)}
    for trial in infeasible:
        assert told[trial.number].state is OptunaState.PRUNED
        assert told[trial.number].constraints["cbam_search"] == pytest.approx(trial.candidate.gflops / bounds["gflops"] - 1)


def test_tpe_learns_to_propose_what_is_feasible(tmp_path: Path) -> None:
    cost = CostModel((8, 8)).cost
    bounds = {"gflops": 1.2 * cost(published(WIDE.backbones[0], None)).gflops}
    infeasible = {}
    for sampler in ("random", "tpe"):
        bench = bench_of(tmp_path / sampler, bounds=bounds, sampler=sampler, trials=30)
        bench.run(landscape, workers=1)
        infeasible[sampler] = sum(trial.state is TrialState.INFEASIBLE for trial in bench.records.trials.values())
    assert infeasible["tpe"] < infeasible["random"] / 2


def test_bounds_that_nothing_keeps_end_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposer, "PROPOSALS_WITHOUT_A_NEW_ONE", 30)
    bench = bench_of(tmp_path, TINY, bounds={"params": 1.0})
    assert bench.run(landscape) == []
    assert bench.conductor.exhausted is NoCandidate.SPACE_EXHAUSTED


def test_after_so_many_proposals_without_a_new_one_the_rest_is_enumerated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposer, "PROPOSALS_WITHOUT_A_NEW_ONE", 3)
    monkeypatch.setattr(conductor, "PROPOSALS_A_CALL", 1)
    cost = CostModel((8, 8)).cost
    per_block = space_of(per="block")
    bounds = {"params": cost(published(per_block.backbones[0], None)).params + 20.0}
    bench = bench_of(tmp_path, per_block, bounds=bounds, trials=4)
    trained = bench.run(landscape)
    assert [trial.candidate.origin for trial in trained] == [Origin.ENUMERATION] * 2
    assert bench.conductor.exhausted is NoCandidate.SPACE_EXHAUSTED
    infeasible = [trial for trial in bench.records.trials.values() if trial.state is TrialState.INFEASIBLE]
    assert len(infeasible) == 3


def test_a_duplicate_of_what_the_device_could_not_hold_is_told_as_infeasible(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, TINY, trials=8)
    bench.run(lambda _trial: Outcome(state=TrialState.INFEASIBLE, reason="out of memory"), workers=1)
    duplicates = [trial.number for trial in bench.records.trials.values() if trial.state is TrialState.DUPLICATE]
    told = {trial.number: trial for trial in optuna_trials(bench)}
    assert duplicates
    assert all(told[number].constraints["cbam_search"] > 0 for number in duplicates)


def test_grid_trains_every_architecture_once(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, TINY, sampler="grid", trials=8)
    trained = bench.run(landscape)
    assert [trial.candidate.digest for trial in sorted(trained, key=lambda t: t.number)] == [
        architecture.digest for architecture in TINY.enumerate()
    ]
    assert bench.conductor.exhausted is NoCandidate.BUDGET_USED


def test_states_are_told_as_the_table_says(tmp_path: Path) -> None:
    states = [TrialState.COMPLETE, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED, TrialState.INFEASIBLE]

    def trainer(trial: Trial) -> Outcome:
        state = states[len(seen) % len(states)]
        seen[trial.number] = state
        return Outcome(state=state, metrics={"accuracy": 0.5}, epochs=1, reason=f"trial {trial.number}")

    seen: dict[int, TrialState] = {}
    bench = bench_of(tmp_path)
    bench.run(trainer)
    expected = {
        TrialState.COMPLETE: (OptunaState.COMPLETE, False),
        TrialState.STOPPED: (OptunaState.PRUNED, False),
        TrialState.DIVERGED: (OptunaState.PRUNED, True),
        TrialState.FAILED: (OptunaState.FAIL, False),
        TrialState.INFEASIBLE: (OptunaState.PRUNED, True),
    }
    for trial in optuna_trials(bench):
        if trial.number in seen:
            state, constrained = expected[seen[trial.number]]
            assert trial.state is state
            assert any(value > 0 for value in trial.constraints.values()) is constrained
    assert not [trial for trial in optuna_trials(bench) if trial.state is OptunaState.RUNNING]


def test_a_new_driver_goes_on_where_the_old_one_was_killed(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, sampler="tpe")
    finished = bench.run(landscape, workers=3, at_most=4)
    cut_off = [trial for trial in bench.records.trials.values() if trial.state is TrialState.RUNNING]
    assert len(cut_off) == 2
    bench.restart()
    rest = bench.run(landscape, workers=3)
    assert {trial.number for trial in cut_off} <= {trial.number for trial in rest}
    assert {trial.number for trial in finished}.isdisjoint(trial.number for trial in rest)
    assert [trial.attempts for trial in rest if trial.number in {t.number for t in cut_off}] == [2, 2]
    digests = [trial.candidate.digest for trial in (*finished, *rest)]
    assert len(digests) == len(set(digests)) == 10
    started = [event for event, _ in read_events(bench.folder.ledger) if isinstance(event, TrialStarted)]
    for trial in cut_off:
        first, second = [event for event in started if event.trial == trial.number]
        assert (first.attempt, second.attempt) == (1, 2)
        assert first.parameters == second.parameters != {}


def test_a_result_that_no_driver_noted_is_taken_up(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    trial = bench.conductor.next()
    assert trial is not None
    bench.folder.evaluation(trial.evaluation).mkdir(parents=True)
    write_result(bench.folder.result(trial.evaluation), landscape(trial))
    bench.restart()
    assert bench.records.trials[trial.number].state is TrialState.COMPLETE
    assert trial.number not in {other.number for other in bench.run(landscape)}


def ends_in_ledger(bench: StudyBench) -> Counter[int]:
    return Counter(event.trial for event, _ in read_events(bench.folder.ledger) if isinstance(event, TrialFinished))


def test_an_end_that_was_stored_but_not_noted_is_noted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(tmp_path)
    bench.run(landscape, at_most=2)
    trial = bench.conductor.next()
    assert trial is not None
    values = {"accuracy": 0.9, "gflops": trial.candidate.gflops}

    def killed(_event: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.records.ledger, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.records.finish(trial.number, landscape(trial).model_copy(update={"values": values}))
    assert trial.number not in ends_in_ledger(bench)
    bench.restart()
    bench.restart()
    assert ends_in_ledger(bench)[trial.number] == 1
    last_front = [event for event, _ in read_events(bench.folder.ledger) if isinstance(event, FrontUpdated)][-1]
    assert last_front.front == bench.records.front.numbers
    assert last_front.complete == 3


def test_kills_between_two_writes_leave_no_zombie(tmp_path: Path) -> None:
    """Cut off after the outcome was recorded but before Optuna was told, after ask, and after enqueue."""
    bench = bench_of(tmp_path)
    bench.run(landscape, at_most=3)
    trial = bench.conductor.next()
    assert trial is not None
    values = {"accuracy": 0.5, "gflops": trial.candidate.gflops}
    bench.records.finish(trial.number, landscape(trial).model_copy(update={"values": values}))
    bench.conductor.proposer._study.ask(bench.conductor.proposer._distributions)
    bench.conductor.proposer._study.enqueue_trial({})
    bench.restart()
    states = {frozen.number: frozen.state for frozen in optuna_trials(bench)}
    assert states[trial.number] is OptunaState.COMPLETE
    assert ends_in_ledger(bench)[trial.number] == 1
    assert [state for number, state in states.items() if number > trial.number] == [OptunaState.FAIL] * 2
    assert len(bench.run(landscape)) == 10 - 4


def test_axes_end_where_documented() -> None:
    model = CostModel((8, 8))
    by_hand = [model.cost(architecture) for architecture in TINY.enumerate()]
    labels = np.array([0, 0, 0, 1, 2])
    axes = objective_axes(
        {"accuracy": "max", "gflops": "min", "params": "min"},
        space=TINY,
        cost=model,
        bounds={"gflops": 1e-9},
        validation_labels=labels,
    )
    assert [axis.reference for axis in axes] == pytest.approx([0.6, 1.1e-9, 1.1 * max(cost.params for cost in by_hand)])


def test_majority_scores_are_those_of_scikit_learn() -> None:
    labels = np.array([0] * 5 + [1] * 3 + [3] * 2)  # no image of class 2
    constant = np.zeros_like(labels)
    scores = majority_scores(labels)
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, constant))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, constant))
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, constant, average="macro"))


def test_validation_of_one_class_alone_is_refused() -> None:
    with pytest.raises(DataError, match="all of one class"):
        objective_axes(
            {"accuracy": "max"}, space=TINY, cost=CostModel((8, 8)), bounds={}, validation_labels=np.array([3, 3, 3])
        )


def test_excess_is_that_of_the_worst_bound() -> None:
    cost = CostModel((8, 8)).cost(published(TINY.backbones[0], None))
    assert excess(cost, {}) == 0.0
    assert excess(cost, {"gflops": cost.gflops, "params": cost.params / 2}) == pytest.approx(1.0)
    assert [objective.name for objective in OBJECTIVES] == ["accuracy", "gflops"]
