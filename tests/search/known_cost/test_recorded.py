"""In a study: observations from its records, the same after a restart; published designs outside the space teach too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from studies import StudyBench, landscape, manifest_of, new_folder

from cbam_search.architecture import published
from cbam_search.metrics import Measured
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.search.config import SearchConfig
from cbam_search.search.known_cost.engine import KnownCostSearch, Proposal
from cbam_search.search.known_cost.observations import TELLS_NOTHING, UNFIT, RecordedObservations
from cbam_search.search.known_cost.surrogate import Surrogate
from cbam_search.space.space import Space


def bench_of(folder: Path, space: Space, trials: int = 24, **options: object) -> StudyBench:
    config = SearchConfig(trials=trials, sampler="known_cost")
    return StudyBench(new_folder(folder, manifest_of(trials=trials, epochs=4)), space, config, **options)  # type: ignore[arg-type]


def stopping(trial: Trial) -> Outcome:
    """Every third trial is stopped after two of four epochs, one diverges, one fails."""
    full = landscape(trial)
    if trial.number == 4:
        return Outcome(state=TrialState.DIVERGED, reason="the loss is not finite")
    if trial.number == 5:
        return Outcome(state=TrialState.FAILED, reason="an error")
    if trial.number % 3 == 0:
        lower = {"accuracy": Measured(value=full.metrics["accuracy"].value - 0.1)}
        return Outcome(state=TrialState.STOPPED, metrics=lower, epochs=2)
    return full.model_copy(update={"epochs": 4})


def all_of(bench: StudyBench, settled: Mapping[int, object] | None = None) -> list[Evaluation]:
    study = bench.conductor.proposer._study
    return list(RecordedObservations(bench.records).unsettled(study, settled or {}))


def test_records_tell_epochs_and_ends_also_after_a_restart(tmp_path: Path, space: Space) -> None:
    bench = bench_of(tmp_path, space)
    bench.run(stopping, workers=3, at_most=18)
    before = all_of(bench)
    by_number = {evaluation.trial: evaluation for evaluation in before}
    assert by_number[4].state in UNFIT
    assert by_number[5].state in TELLS_NOTHING
    stopped = [entry for entry in before if entry.state is TrialState.STOPPED]
    complete = [entry for entry in before if entry.state is TrialState.COMPLETE]
    assert stopped
    assert complete
    curves = {entry.trial: (entry.curve("accuracy"), entry.final("accuracy")) for entry in before}
    assert all(set(curve) == {1, 2} and final is None for curve, final in (curves[entry.trial] for entry in stopped))
    assert all(set(curve) == {1, 2, 3, 4} and final == curve[4] for curve, final in (curves[entry.trial] for entry in complete))
    assert len([entry for entry in before if entry.state is TrialState.RUNNING]) == 2
    bench.restart()
    assert all_of(bench) == before
    assert [entry.trial for entry in all_of(bench, dict.fromkeys(range(10)))] == [n for n in by_number if n >= 10]


def test_the_model_of_a_study_goes_over_the_epochs_of_stopped_trials(
    tmp_path: Path, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int, int]] = []
    original = Surrogate.__init__

    def spy(self: Surrogate, features: np.ndarray, curves: np.ndarray) -> None:
        original(self, features, curves)
        shapes.append((*curves.shape, len(self.levels)))

    monkeypatch.setattr(Surrogate, "__init__", spy)
    bench = bench_of(tmp_path, space)
    bench.run(stopping, workers=2)
    trials, levels, used = shapes[-1]
    stopped = [trial for trial in bench.records.trials.values() if trial.state is TrialState.STOPPED]
    complete = [trial for trial in bench.records.trials.values() if trial.state is TrialState.COMPLETE]
    assert stopped
    assert levels == used == 2
    assert len(complete) < trials <= len(stopped) + len(complete) + 2


def test_published_designs_outside_the_space_are_learned_from(
    tmp_path: Path, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []
    original = KnownCostSearch.propose

    def spy(self: KnownCostSearch, table: object, rng: np.random.Generator) -> Proposal:
        proposal = original(self, table, rng)  # type: ignore[arg-type]
        seen.append((table.complete, proposal.by_model))  # type: ignore[attr-defined]
        return proposal

    monkeypatch.setattr(KnownCostSearch, "propose", spy)
    designs = tuple(published(backbone, kind) for backbone in space.backbones for kind in (None, "se", "cbam"))
    assert any(space.encode(design) is None for design in designs)
    bench = bench_of(tmp_path, space, trials=16, published=designs)
    bench.run(landscape, workers=1)
    assert seen[0] == (12, True)
    assert len(bench.records.front.members) > 0


def test_an_unfinished_study_goes_on_and_trains_nothing_twice(tmp_path: Path, space: Space) -> None:
    bench = bench_of(tmp_path, space, trials=20)
    first = bench.run(landscape, workers=2, at_most=12)
    bench.restart()
    rest = bench.run(landscape, workers=2)
    digests = [trial.candidate.digest for trial in (*first, *rest)]
    assert len(set(digests)) == len(digests) == 20
