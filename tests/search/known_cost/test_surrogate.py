"""The surrogate finds what is linear, knows what it does not know, and learns from trials that were stopped."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbam_search.search.known_cost.surrogate import Ridge, Surrogate, to_accuracy, to_angle


def linear(count: int, *, noise: float, seed: int = 0, columns: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, true angles and noisy ones."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, columns))
    true = 1.2 + features @ (0.02 * np.array([3, -2, 1, *([0] * (columns - 3))]))
    return features, true, true + rng.normal(0, noise, size=count)


def accuracies(angles: np.ndarray) -> np.ndarray:
    return np.sin(angles) ** 2


def test_it_recovers_a_linear_landscape_and_its_noise() -> None:
    features, _, noisy = linear(200, noise=0.01)
    surrogate = Surrogate(features, accuracies(noisy)[:, None])
    fresh, true, _ = linear(500, noise=0.0, seed=1)
    posterior = surrogate.predict(fresh)
    assert np.abs(posterior.mean - true).max() < 0.015
    assert np.sqrt(surrogate.noise) == pytest.approx(0.01, rel=0.25)
    within = np.abs(posterior.mean - true) <= 2 * np.sqrt(posterior.variance)
    assert 0.85 < within.mean() <= 1.0


def test_uncertainty_shrinks_with_data_and_near_what_is_believed() -> None:
    fresh, _, _ = linear(100, noise=0.0, seed=1)
    deviations = []
    for count in (10, 40, 160, 640):
        features, _, noisy = linear(count, noise=0.01)
        surrogate = Surrogate(features, accuracies(noisy)[:, None])
        deviations.append(float(np.sqrt(surrogate.predict(fresh).variance).mean()))
    assert all(later < 0.75 * earlier for earlier, later in pairwise(deviations))
    features, _, noisy = linear(40, noise=0.01)
    surrogate = Surrogate(features, accuracies(noisy)[:, None])
    before = surrogate.predict(fresh[:1])
    surrogate.believe(np.repeat(fresh[:1], 50, axis=0))
    after = surrogate.predict(fresh[:1])
    assert after.variance[0] < 0.7 * before.variance[0]
    assert after.mean[0] == before.mean[0]


def test_few_observations_are_not_taken_at_their_word() -> None:
    """With fewer trials than columns a line through every point exists; the best predicted is then not the best observed."""
    features, true, noisy = linear(12, noise=0.03, columns=60)
    surrogate = Surrogate(features, accuracies(noisy)[:, None])
    fitted = surrogate.predict(features).mean
    assert np.abs(fitted - noisy).mean() > 0.02 * np.abs(noisy - noisy.mean()).mean()
    assert np.abs(fitted - true).mean() < np.abs(noisy - true).mean()


def test_stopped_trials_teach() -> None:
    """A scheduler keeps the better third at the rung; with those it stopped the model is better than with survivors alone."""
    features, true, _ = linear(90, noise=0.0)
    fresh, fresh_true, _ = linear(300, noise=0.0, seed=1)
    errors: dict[str, list[float]] = {"all": [], "survivors": []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        luck = rng.normal(0, 0.02, size=90)
        rung, final = true - 0.2 + luck, true + 0.8 * luck + rng.normal(0, 0.01, size=90)
        stopped = rung < np.quantile(rung, 2 / 3)
        curves = np.column_stack([accuracies(rung), np.where(stopped, np.nan, accuracies(final))])
        for name, kept in (("all", np.full(90, True)), ("survivors", ~stopped)):
            surrogate = Surrogate(features[kept], curves[kept] if name == "all" else curves[kept][:, 1:])
            errors[name].append(float(np.sqrt(np.mean((surrogate.predict(fresh).mean - fresh_true) ** 2))))
    assert np.median(errors["all"]) < 0.7 * np.median(errors["survivors"])


def test_a_level_that_few_passed_is_left_out() -> None:
    features, true, _ = linear(20, noise=0.0)
    rung = np.where(np.arange(20) < 3, accuracies(true), np.nan)
    surrogate = Surrogate(features, np.column_stack([rung, accuracies(true)]))
    assert surrogate.levels == [1]
    more = np.where(np.arange(20) < 4, accuracies(true), np.nan)
    assert Surrogate(features, np.column_stack([more, accuracies(true)])).levels == [0, 1]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_accuracies_are_no_trouble(value: float) -> None:
    features, _, _ = linear(10, noise=0.0)
    posterior = Surrogate(features, np.full((10, 1), value)).predict(features)
    mean, deviation = to_accuracy(posterior.mean, posterior.variance)
    np.testing.assert_allclose(mean, value, atol=1e-3)
    assert np.isfinite(deviation).all()


def test_no_column_varies() -> None:
    ridge = Ridge(np.ones((5, 3)), np.array([1.0, 2.0, 3.0, 2.0, 1.0]))
    mean, variance = ridge.predict(np.zeros((2, 3)))
    assert list(mean) == [1.8, 1.8]
    assert (variance > 0).all()
    ridge.believe(np.zeros((2, 3)))


@settings(deadline=None, max_examples=50)
@given(st.floats(0.0, 1.5), st.floats(0.0, 0.2))
def test_moments_are_those_of_the_normal_angle(mean: float, deviation: float) -> None:
    drawn = np.sin(mean + deviation * np.random.default_rng(0).standard_normal(200_000)) ** 2
    expected, spread = to_accuracy(np.array([mean]), np.array([deviation**2]))
    assert expected[0] == pytest.approx(drawn.mean(), abs=2e-3)
    assert spread[0] == pytest.approx(drawn.std(), abs=2e-3)


def test_angles_of_what_is_no_accuracy_are_clipped() -> None:
    assert list(to_angle([-1.0, 0.0, 1.0, 2.0])) == [0.0, 0.0, np.pi / 2, np.pi / 2]
