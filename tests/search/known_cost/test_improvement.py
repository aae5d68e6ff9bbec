"""The closed form against what it stands for: hypervolumes of drawn accuracies, computed by moocore."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbam_search.pareto import Axis, hypervolume
from cbam_search.search.known_cost.improvement import (
    exclusive_volume,
    expected_hypervolume_improvement,
    expected_improvement,
)

UNIT = st.floats(0.0, 1.2, allow_nan=False)


def axes(known: int) -> list[Axis]:
    accuracy = Axis("accuracy", maximise=True, reference=0.0, ideal=1.0)
    return [accuracy, *(Axis(f"cost{index}", maximise=False, reference=1.0, ideal=0.0) for index in range(known))]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2), st.data())
def test_it_is_the_mean_of_improvements(known: int, data: st.DataObject) -> None:
    members = data.draw(st.integers(0, 5))
    front = np.array([[data.draw(UNIT) for _ in range(known + 1)] for _ in range(members)]).reshape(members, known + 1)
    front[:, 0] = np.minimum(front[:, 0], 1.0)
    costs = np.array([[data.draw(UNIT) for _ in range(known)]]).reshape(1, known)
    mean, deviation = data.draw(st.floats(0.1, 0.7)), data.draw(st.sampled_from([0.0, 0.02, 0.08]))
    exact = expected_hypervolume_improvement(costs, np.array([mean]), np.array([deviation]), front[:, 1:], front[:, 0])[0]
    # Evenly spaced quantiles in place of draws: a mean without luck. Below the ideal, beyond which `pareto` counts nothing.
    quantiles = (np.arange(400) + 0.5) / 400
    drawn = np.minimum(mean + deviation * np.array([NormalDist().inv_cdf(share) for share in quantiles]), 1.0)
    before = hypervolume(front, axes(known))
    after = [hypervolume(np.vstack([front, [[value, *costs[0]]]]), axes(known)) for value in drawn]
    assert exact == pytest.approx(np.mean(after) - before, abs=2e-4)


def test_without_uncertainty_it_is_the_improvement_itself() -> None:
    front = np.array([[0.5, 0.2], [0.8, 0.6]])
    exact = expected_hypervolume_improvement(
        np.array([[0.4], [0.7]]), np.array([0.7, 0.8]), np.zeros(2), front[:, 1:], front[:, 0]
    )
    np.testing.assert_allclose(exact, [0.2 * 0.2, 0.0], atol=1e-12)


def test_a_cost_at_or_beyond_its_reference_is_worth_nothing() -> None:
    values = expected_hypervolume_improvement(
        np.array([[1.0], [1.5]]), np.array([0.9, 0.9]), np.array([0.1, 0.1]), np.empty((0, 1)), np.empty(0)
    )
    assert list(values) == [0.0, 0.0]


def test_more_than_two_known_costs_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 2"):
        expected_hypervolume_improvement(np.zeros((1, 3)), np.zeros(1), np.zeros(1), np.empty((0, 3)), np.empty(0))


@given(st.lists(st.tuples(UNIT, UNIT), max_size=6), st.tuples(UNIT, UNIT))
def test_exclusive_areas_are_differences_of_hypervolumes(others: list[tuple[float, float]], own: tuple[float, float]) -> None:
    two = axes(2)[1:]
    expected = hypervolume([*others, own], two) - hypervolume(others, two)
    found = exclusive_volume(np.array([own]), np.array(others).reshape(-1, 2))
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_expected_improvement_far_away() -> None:
    values = expected_improvement(np.array([0.0, 1.0]), np.array([1e-3, 1e-3]), np.array([1.0, 0.0]))
    assert values[0] == 0.0
    assert values[1] == pytest.approx(1.0)
