"""What each sampler makes of trials that were stopped, diverged or are infeasible: it turns away, and none counts as good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe import sampler as optuna_tpe
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from pydantic import ValidationError
from studies import OBJECTIVES, StudyBench, manifest_of, new_folder, space_of

from cbam_search.architecture import published
from cbam_search.cost.model import CostModel
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.search import telling
from cbam_search.search.config import SearchConfig
from cbam_search.search.sampler_registry import SAMPLERS, LearnsFrom
from cbam_search.search.samplers import BUILDERS
from cbam_search.search.telling import tell, worthless_for

SPACE = space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7], pools={"from": ["avg", "max"]})
COST = CostModel((8, 8)).cost
EARLY = {"kind": "pareto_asha"}
TRIALS = 40
LEARNS_FROM_COMPLETE = [name for name in SAMPLERS if SAMPLERS[name].learns_from is LearnsFrom.COMPLETE]
LEARNS_FROM_NOTHING = [name for name in SAMPLERS if SAMPLERS[name].learns_from is LearnsFrom.NOTHING]


def bench_of(folder: Path, sampler: str, *, early: bool = False, trials: int = TRIALS, **options: object) -> StudyBench:
    search = {"trials": trials, "sampler": sampler, "scheduler": EARLY if early else {}}
    manifest = manifest_of(trials=trials, epochs=27)
    return StudyBench(new_folder(folder, manifest), SPACE, SearchConfig.model_validate(search), seed=3, **options)  # type: ignore[arg-type]


def has_cbam_last(trial: Trial) -> bool:
    return any(site.stage == 2 and spec.kind == "cbam" for site, spec in trial.candidate.architecture.placed)


def ending(bad: TrialState) -> Callable[[Trial], Outcome]:
    """Whoever has CBAM in its last stage ends badly, though its accuracy is high; the others are mediocre."""

    def train(trial: Trial) -> Outcome:
        if has_cbam_last(trial):
            return Outcome(state=bad, metrics={"accuracy": 0.95}, epochs=3, reason="for the test")
        return Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.5}, epochs=27)

    return train


def told(bench: StudyBench) -> dict[int, FrozenTrial]:
    return {trial.number: trial for trial in bench.records.storage.get_all_trials(bench.records.optuna_study_id)}


def test_every_sampler_is_looked_at_here() -> None:
    """A new sampler that learns from stopped trials needs tests like those of tpe and known_cost."""
    found = {name for name in SAMPLERS if SAMPLERS[name].learns_from is LearnsFrom.COMPLETE_AND_STOPPED}
    assert found == {"tpe", "known_cost"}


def test_the_table_s_columns_are_the_entries() -> None:
    head = next(line for line in (telling.__doc__ or "").splitlines() if line.startswith("| the trial"))
    told_pruned, told_worthless = (cell.removeprefix(" told to ").strip().split(", ") for cell in head.split("|")[2:4])
    assert told_worthless == [name for name in SAMPLERS if worthless_for(SAMPLERS[name], OBJECTIVES) is not None]
    assert {*told_pruned, "known_cost", "grid"} == {*SAMPLERS} - {*told_worthless}


@pytest.mark.parametrize("sampler", LEARNS_FROM_COMPLETE)
def test_a_sampler_that_cannot_learn_from_stopped_trials_is_refused_with_early_stopping(sampler: str) -> None:
    with pytest.raises(ValidationError, match=f"{sampler} learns from complete trials alone"):
        SearchConfig.model_validate({"sampler": sampler, "scheduler": EARLY})
    assert SearchConfig.model_validate({"sampler": sampler}).scheduler.kind == "none"


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in LEARNS_FROM_COMPLETE])
def test_the_others_are_taken(sampler: str) -> None:
    assert SearchConfig.model_validate({"sampler": sampler, "scheduler": EARLY}).sampler == sampler


@pytest.mark.parametrize("state", [TrialState.STOPPED, TrialState.DIVERGED, TrialState.INFEASIBLE])
def test_tpe_turns_away_from_what_is_stopped_diverged_or_infeasible(state: TrialState, tmp_path: Path) -> None:
    trained = bench_of(tmp_path, "tpe", early=True).run(ending(state), workers=1)
    bad = [has_cbam_last(trial) for trial in trained]
    assert np.mean(bad[-15:]) < np.mean(bad[:10]) / 2


@pytest.mark.parametrize("state", [TrialState.STOPPED, TrialState.DIVERGED, TrialState.INFEASIBLE])
def test_known_cost_turns_away_from_what_is_behind_at_a_rung_diverged_or_infeasible(state: TrialState, tmp_path: Path) -> None:
    """Stopped trials are behind here: with a high accuracy at their rung they would be promising, and are for it."""

    def train(trial: Trial) -> Outcome:
        if has_cbam_last(trial):
            accuracy = 0.2 if state is TrialState.STOPPED else 0.95
            return Outcome(state=state, metrics={"accuracy": accuracy}, epochs=3, reason="for the test")
        return Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.5}, epochs=27)

    trained = bench_of(tmp_path, "known_cost", early=True, trials=60).run(train, workers=1)
    bad = [has_cbam_last(trial) for trial in trained]
    assert np.mean(bad[-15:]) < np.mean(bad[:12]) / 2


@pytest.fixture
def good_trials(monkeypatch: pytest.MonkeyPatch) -> list[FrozenTrial]:
    """Every trial that TPE took for a good one, as often as it did."""
    good: list[FrozenTrial] = []
    original = optuna_tpe._split_trials

    def spy(
        study: optuna.Study, trials: list[FrozenTrial], n_below: int
    ) -> tuple[Sequence[FrozenTrial], Sequence[FrozenTrial]]:
        below, above = original(study, trials, n_below)
        good.extend(below)
        return below, above

    monkeypatch.setattr(optuna_tpe, "_split_trials", spy)
    return good


@pytest.mark.parametrize("state", [TrialState.STOPPED, TrialState.DIVERGED, TrialState.INFEASIBLE])
def test_tpe_calls_complete_trials_alone_good(state: TrialState, tmp_path: Path, good_trials: list[FrozenTrial]) -> None:
    """Even where every trial but three ends otherwise, with a high accuracy."""

    def train(trial: Trial) -> Outcome:
        if len(complete) < 3 and trial.number > 4:
            complete.append(trial.number)
            return Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.2}, epochs=27)
        return Outcome(state=state, metrics={"accuracy": 0.99}, epochs=9, reason="for the test")

    complete: list[int] = []
    bench_of(tmp_path, "tpe", early=True).run(train, workers=1)
    assert good_trials
    assert {trial.state for trial in good_trials} == {OptunaState.COMPLETE}


def test_optuna_s_own_choice_of_good_trials_would_hold_stopped_ones(
    tmp_path: Path, good_trials: list[FrozenTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What FullTrainingTPE is for; when this fails, it may go."""
    own = {"tpe": lambda seed, _trials, _task: TPESampler(seed=seed, multivariate=True, constant_liar=True)}
    monkeypatch.setattr("cbam_search.search.samplers.BUILDERS", own)
    bench_of(tmp_path, "tpe", early=True, trials=20).run(
        lambda _trial: Outcome(state=TrialState.STOPPED, metrics={"accuracy": 0.99}, epochs=3, reason="for the test"), workers=1
    )
    assert OptunaState.PRUNED in {trial.state for trial in good_trials}


@pytest.mark.parametrize("sampler", LEARNS_FROM_NOTHING)
def test_these_learn_nothing_and_are_not_misled(sampler: str, tmp_path: Path) -> None:
    proposed = []
    for state in (TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED):
        trained = bench_of(tmp_path / state.value, sampler, early=True, trials=10).run(
            lambda trial, state=state: Outcome(state=state, epochs=3, reason=f"trial {trial.number}"), workers=1
        )
        proposed.append([trial.candidate.digest for trial in trained])
    assert len(proposed[0]) == 10 or SAMPLERS[sampler].enumerates
    shortest = min(map(len, proposed))  # three failures for different reasons do not end a study
    assert proposed[0][:shortest] == proposed[1][:shortest] == proposed[2][:shortest]


@pytest.mark.parametrize("sampler", LEARNS_FROM_COMPLETE)
def test_what_diverged_or_is_infeasible_is_told_at_the_reference_point(sampler: str, tmp_path: Path) -> None:
    bounds = {"gflops": 1.2 * COST(published(SPACE.backbones[0], None)).gflops}
    bench = bench_of(tmp_path, sampler, trials=12, bounds=bounds)
    bench.run(ending(TrialState.DIVERGED), workers=1)
    reference = [axis.reference for axis in bench.records.manifest.objectives]
    states = dict.fromkeys((TrialState.DIVERGED, TrialState.INFEASIBLE), 0)
    for number, trial in bench.records.trials.items():
        if trial.state not in states:
            continue
        states[trial.state] += 1
        entry = told(bench)[number]
        assert (entry.state, entry.values) == (OptunaState.COMPLETE, reference)
        violated = [value > 0 for value in entry.constraints.values()]
        assert violated == ([True] if SAMPLERS[sampler].takes_constraints else [])
        assert number not in bench.records.front.ranks
    assert all(states.values())


OPTIONS = {f"choice{number}": CategoricalDistribution((0, 1, 2)) for number in range(8)}
AXES = (OBJECTIVES[0], OBJECTIVES[1].model_copy(update={"reference": 0.35}))


def share_of_bad_proposals(sampler: str, state: TrialState, seed: int, *, told: bool = True, proposals: int = 60) -> float:
    """Of the later two thirds. Without a study around it: bad is whatever costs more than 0.35, or has choice7 = 2."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=BUILDERS[sampler](seed, 40, None), directions=["maximize", "minimize"])
    worthless = worthless_for(SAMPLERS[sampler], AXES) if told else None
    bad = []
    for _ in range(proposals):
        trial = study.ask(OPTIONS)
        choices = np.array([trial.params[name] for name in OPTIONS])
        cost = float(choices.sum()) / 16
        accuracy = 0.1 + 0.8 * (1 - (1 - cost) ** 2) * (0.9 + 0.05 * choices[0])
        bad.append(bool(cost > 0.35 if state is TrialState.INFEASIBLE else choices[7] == 2))
        values = {"accuracy": float(accuracy), "gflops": cost}
        outcome = Outcome(state=state if bad[-1] else TrialState.COMPLETE, values=None if bad[-1] else values)
        tell(study, storage, trial.number, outcome, list(values), excess=max(0.0, cost / 0.35 - 1), worthless=worthless)
    return float(np.mean(bad[proposals // 3 :]))


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
@pytest.mark.parametrize("state", [TrialState.DIVERGED, TrialState.INFEASIBLE])
def test_evolution_turns_away_from_it(sampler: str, state: TrialState) -> None:
    seeds = range(8)
    told = np.mean([share_of_bad_proposals(sampler, state, seed, proposals=120) for seed in seeds])
    at_random = np.mean([share_of_bad_proposals("random", state, seed, proposals=120) for seed in seeds])
    assert told < 0.7 * at_random
    if state is TrialState.INFEASIBLE:
        # Of what diverged evolution keeps away by itself: it never becomes a parent, told or not.
        not_told = np.mean([share_of_bad_proposals(sampler, state, seed, told=False, proposals=120) for seed in seeds])
        assert told < 0.8 * not_told


@pytest.mark.slow
@pytest.mark.parametrize("state", [TrialState.DIVERGED, TrialState.INFEASIBLE])
def test_gp_turns_away_from_it(state: TrialState) -> None:
    at_random = share_of_bad_proposals("random", state, 0, proposals=300)
    assert share_of_bad_proposals("gp", state, 0, proposals=36) < 0.7 * at_random
