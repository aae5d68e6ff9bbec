from __future__ import annotations

import json
import math

import pytest
from synthetic_study import ACCURACY, GFLOPS, candidate, complete, ended

from cbam_search.records.trials import Origin, Trial, TrialState
from cbam_search.report.front_table import front_table

OBJECTIVES = (ACCURACY, GFLOPS)


def test_front_first_from_cheap_to_costly_then_by_rank_then_the_rest() -> None:
    trials = [
        ended(0, TrialState.FAILED),
        complete(1, 0.90, 0.003),
        complete(2, 0.97, 0.004),
        complete(3, 0.93, 0.001),
        complete(4, 0.89, 0.005),
        Trial(5, candidate()),
    ]
    rows = front_table(trials, OBJECTIVES)
    assert [(row["trial"], row["pareto_rank"]) for row in rows] == [(3, 0), (2, 0), (1, 1), (4, 2), (0, None), (5, None)]
    assert [row["state"] for row in rows] == ["complete"] * 4 + ["failed", "running"]


def test_a_row_holds_recorded_values_and_known_costs() -> None:
    (row,) = front_table([complete(7, 0.875, 0.002, origin=Origin.PUBLISHED)], OBJECTIVES)
    assert row == {
        "trial": 7,
        "label": "cifar_resnet8_0.5",
        "published": True,
        "accuracy": 0.875,
        # Of 180 images, with half an image added to the right ones and to the wrong ones.
        "accuracy_standard_error": pytest.approx(math.sqrt(158 / 181 * 23 / 181 / 180)),
        "gflops": 0.002,
        "params": 30000,
        "pareto_rank": 0,
        "state": "complete",
        "epochs": 8,
        "origin": "published",
        "numerics_version": 1,
        "replayed_from": None,
    }


def test_incomplete_trials_have_no_objective_values_but_their_cost() -> None:
    (row,) = front_table([ended(0, TrialState.STOPPED, metrics={"accuracy": 0.99}, epochs=1)], (ACCURACY,))
    assert row["accuracy"] is None
    assert row["pareto_rank"] is None
    assert row["gflops"] == 0.001


def test_rows_are_json() -> None:
    trials = [complete(0, 0.9, 0.002), ended(1, TrialState.DIVERGED)]
    assert json.loads(json.dumps(front_table(trials, OBJECTIVES), allow_nan=False)) == front_table(trials, OBJECTIVES)


def test_no_trials_no_rows() -> None:
    assert front_table([], OBJECTIVES) == []
