"""What the table keeps up as trials come is what all observations together say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluations import evaluation_of
from studies import StudyBench, landscape, manifest_of, new_folder

from cbam_search.architecture import Architecture
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.trials import TrialState
from cbam_search.records.view import StudyView
from cbam_search.search.config import SearchConfig
from cbam_search.search.known_cost import observation_table as module
from cbam_search.search.known_cost.codes import CodedSpace
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.search.known_cost.drawing import random_codes
from cbam_search.search.known_cost.observation_table import ObservationTable
from cbam_search.space.space import Space


def architecture_of(evaluation: Evaluation) -> Architecture:
    assert evaluation.architecture is not None
    return evaluation.architecture


def observations_of(coded: CodedSpace, count: int) -> list[Evaluation]:
    """In every state, some stopped at epoch 1 and more at epoch 3, some complete with a value that is not finite."""
    rng = np.random.default_rng(3)
    states = [TrialState.STOPPED, TrialState.STOPPED, TrialState.COMPLETE, TrialState.DIVERGED, TrialState.FAILED]
    found = []
    for number, code in enumerate(random_codes(coded, rng, count)):
        state = states[int(rng.integers(len(states)))]
        epochs = 9 if state is TrialState.COMPLETE else int(rng.choice([1, 3, 3]))
        final = float(rng.choice([0.5, 0.7, np.nan])) if state is TrialState.COMPLETE else None
        curve = {epoch: 0.1 * epoch for epoch in range(1, epochs + 1)}
        found.append(evaluation_of(number, coded.architecture(code), state, curve, final))
    return found


@pytest.mark.parametrize("at_most", [1_500, 30])
def test_it_is_what_all_observations_say(
    coded: CodedSpace, described: CostsAndFeatures, monkeypatch: pytest.MonkeyPatch, at_most: int
) -> None:
    monkeypatch.setattr(module, "LEARNED_FROM_AT_MOST", at_most)
    observations = observations_of(coded, 150)
    running = evaluation_of(
        150, coded.architecture(random_codes(coded, np.random.default_rng(4), 1)[0]), TrialState.RUNNING, {1: 0.2}
    )
    table = ObservationTable(described, "accuracy")
    for start in range(0, 150, 7):
        table.update([*observations[start : start + 7], running])
    telling = [entry for entry in observations if entry.state is not TrialState.FAILED]
    odd = [entry.state is TrialState.COMPLETE and not np.isfinite(entry.final("accuracy") or 0.0) for entry in telling]
    fit = [not bad and entry.state is not TrialState.DIVERGED for entry, bad in zip(telling, odd, strict=True)]
    complete = [entry for entry, good in zip(telling, fit, strict=True) if good and entry.state is TrialState.COMPLETE]

    def features(entries: list[Evaluation]) -> np.ndarray:
        return np.array([described.features_of(architecture_of(entry)) for entry in entries])

    def selected(entries: list[Evaluation]) -> list[Evaluation]:
        if len(entries) <= at_most:
            return entries
        newest = 2 * at_most // 3
        older = entries[:-newest]
        return [older[round(index)] for index in np.linspace(0, len(older) - 1, at_most - newest)] + entries[-newest:]

    assert (table.complete, len(table.running_rows()[0])) == (len(complete), 1)
    assert table.settled == set(range(150))
    np.testing.assert_array_equal(table.all_features(), features([*telling, running]))
    candidates, costs, codes = table.front_candidates()
    np.testing.assert_array_equal(candidates, features(complete))
    assert costs.tolist() == [list(described.costs_of(architecture_of(entry))) for entry in complete]
    assert [code.tolist() for code in codes if code is not None] == [
        code.tolist() for entry in complete if (code := coded.code(architecture_of(entry))) is not None
    ]
    learned, curves = table.learned_from()
    chosen = [*selected([entry for entry, good in zip(telling, fit, strict=True) if good]), running]
    np.testing.assert_array_equal(learned, features(chosen))
    curves_of = [(entry.curve("accuracy"), entry.final("accuracy")) for entry in chosen]
    expected = [[curve.get(1, np.nan), curve.get(3, np.nan), final or np.nan] for curve, final in curves_of]
    np.testing.assert_array_equal(curves, np.array(expected))
    fitness = table.fitness()
    assert fitness is not None
    assert fitness[1].tolist() == [float(good) for good in selected(fit)]  # type: ignore[arg-type]


def test_all_are_fit_where_none_was_found_unfit(coded: CodedSpace, described: CostsAndFeatures) -> None:
    table = ObservationTable(described, "accuracy")
    table.update([entry for entry in observations_of(coded, 40) if entry.state is TrialState.STOPPED])
    assert table.fitness() is None


def test_a_proposal_reads_no_settled_trial_again(tmp_path: Path, space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = StudyView.evaluation

    def spy(self: StudyView, number: int) -> Evaluation:
        read.append(number)
        return original(self, number)

    monkeypatch.setattr(StudyView, "evaluation", spy)
    config = SearchConfig(trials=16, sampler="known_cost", baselines=())
    bench = StudyBench(new_folder(tmp_path, manifest_of(trials=16, epochs=4)), space, config)
    bench.run(landscape, workers=1)
    assert sorted(read) == sorted(set(read))
    assert len(read) == 15
