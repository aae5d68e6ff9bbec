"""Accuracy at (architecture, epoch): a chain of Bayesian ridge regressions over the epochs at which trials stand.

The first level predicts the accuracy at the earliest such epoch from the architecture's features, from every trial that got so
far. Each later level predicts the change since the level before, from that level's accuracy and the features, from the trials
that got both. The last level is the full training. So architectures share weights over epochs, stopped trials teach, and a
later level has to learn only what the earlier one did not tell. This is the recursive form of autoregressive co-kriging
(Kennedy and O'Hagan, Biometrika 87, 2000; Le Gratiet and Garnier, arXiv 1210.0686), with linear models
in place of Gaussian processes. Trials are stopped for what they showed at a level, and that is what the next level conditions
on; so whom a scheduler lets live does not bias the chain.

Accuracies go in as asin(sqrt(accuracy)), whose binomial noise is the same at every accuracy (Anscombe, Biometrika 35, 1948).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import BayesianRidge

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

FEWEST_FOR_A_LEVEL = 4
"""Trials known on both sides of a step, for the step to be learned."""
NOISE_SHARE = 0.1
"""What the noise is expected to be before any data: this share of the variance of what is observed, worth two observations."""
NARROWEST = 1e-6
"""Least deviation of targets that is told from none."""


def to_angle(accuracy: npt.ArrayLike) -> Vector:
    """asin(sqrt(accuracy)), of values clipped to 0 to 1."""
    return np.asarray(np.arcsin(np.sqrt(np.clip(np.asarray(accuracy, dtype=np.float64), 0.0, 1.0))))


def to_accuracy(mean: Vector, variance: Vector) -> tuple[Vector, Vector]:
    """Mean and standard deviation of sin(g)**2 where g is normal with this mean and variance; exact."""
    once, twice = np.cos(2 * mean) * np.exp(-2 * variance), np.cos(4 * mean) * np.exp(-8 * variance)
    spread = np.maximum((1 + twice) / 2 - once**2, 0.0)
    return (1 - once) / 2, np.sqrt(spread) / 2


@dataclass(frozen=True)
class Posterior:
    """mean, variance: (n,), of the accuracy that an architecture reaches on average over seeds, as an angle; without noise."""

    mean: Vector
    variance: Vector


class Ridge:
    """scikit-learn's BayesianRidge (MacKay, Neural Computation 4, 1992; Tipping 2001) with a prior on the noise that a handful
    of observations cannot talk into nothing, and points that are only believed to be observed. A column in which observations
    do not differ keeps its prior: what was never tried is uncertain, not without effect.
    """

    def __init__(self, inputs: Matrix, targets: Vector) -> None:
        """inputs: (n, p), targets: (n,), n at least 2."""
        self._level, self._unit = float(targets.mean()), max(float(targets.std()), NARROWEST)
        self._count = len(targets)
        self._centre = inputs.mean(axis=0)
        columns = inputs.shape[1]
        if columns == 0:
            self._weights, self._covariance, self._noise = np.zeros(0), np.zeros((0, 0)), 1.0
            return
        # Gamma priors: on the noise's precision with mean 1 / NOISE_SHARE, on the weights' with as many columns as share 1.
        model = BayesianRidge(alpha_1=1.0, alpha_2=NOISE_SHARE, lambda_1=1.0, lambda_2=1.0 / columns, tol=1e-3, max_iter=100)
        model.fit(inputs, (targets - self._level) / self._unit)
        self._weights, self._noise = np.asarray(model.coef_), 1.0 / float(model.alpha_)
        self._covariance = np.asarray(model.sigma_)

    @property
    def noise(self) -> float:
        """Estimated variance of an observation about the model."""
        return self._noise * self._unit**2

    @property
    def weights(self) -> Vector:
        """(p,)."""
        return self._weights * self._unit

    def predict(self, inputs: Matrix) -> tuple[Vector, Vector]:
        """Mean and variance (n,) of the function at inputs (n, p), without noise."""
        offsets = inputs - self._centre
        mean = self._level + self._unit * (offsets @ self._weights)
        variance = ((offsets @ self._covariance) * offsets).sum(axis=1) + self._noise / self._count
        return mean, variance * self._unit**2

    def believe(self, inputs: Matrix) -> None:
        """Count inputs (m, p) as observed at their predicted means: means stay, variances shrink there (Ginsbourger, Le Riche
        and Carraro 2010, "kriging believer").
        """
        for offset in inputs - self._centre:
            direction = self._covariance @ offset
            self._covariance = self._covariance - np.outer(direction, direction) / (self._noise + offset @ direction)


@dataclass(frozen=True)
class _Step:
    """From one level to the next: the change, predicted from (angle - centre) / unit of the level before, and the features."""

    ridge: Ridge
    centre: float
    unit: float

    def inputs(self, angles: Vector, features: Matrix) -> Matrix:
        return np.column_stack([(angles - self.centre) / self.unit, features])

    @property
    def slope(self) -> float:
        """How much the change grows with the angle before."""
        return float(self.ridge.weights[0]) / self.unit


class Surrogate:
    """The chain. levels: which columns of the curves it goes over; the last of them is the full training."""

    def __init__(self, features: Matrix, curves: Matrix) -> None:
        """features: (n, p). curves: (n, m), accuracies at m - 1 epochs in order and after the last one; NaN where not known.

        At least two trainings must be full. A level that too few trials passed is left out.
        """
        angles = np.where(np.isnan(curves), np.nan, to_angle(np.nan_to_num(curves)))
        self.levels = _usable_levels(~np.isnan(angles))
        first = angles[:, self.levels[0]]
        known = ~np.isnan(first)
        self._first = Ridge(features[known], first[known])
        self._steps: list[_Step] = []
        for level, following in pairwise(self.levels):
            before, after = angles[:, level], angles[:, following]
            known = ~np.isnan(before) & ~np.isnan(after)
            centre, unit = float(before[known].mean()), max(float(before[known].std()), NARROWEST)
            inputs = np.column_stack([(before[known] - centre) / unit, features[known]])
            self._steps.append(_Step(Ridge(inputs, after[known] - before[known]), centre, unit))

    @property
    def noise(self) -> float:
        """Variance of a full training about the model, as an angle: its seed, the validation images, what the features miss."""
        noise = self._first.noise
        for step in self._steps:
            noise = (1.0 + step.slope) ** 2 * noise + step.ridge.noise
        return noise

    def predict(self, features: Matrix) -> Posterior:
        """Of full trainings, of features (n, p). The variance leaves out that the slopes of steps are uncertain, too."""
        mean, variance = self._first.predict(features)
        for step in self._steps:
            change, uncertainty = step.ridge.predict(step.inputs(mean, features))
            mean, variance = mean + change, (1.0 + step.slope) ** 2 * variance + uncertainty
        return Posterior(np.clip(mean, 0.0, np.pi / 2), variance)

    def believe(self, features: Matrix) -> None:
        """Count architectures (m, p) as fully trained with the predicted results."""
        if len(features) == 0:
            return
        mean, _ = self._first.predict(features)
        self._first.believe(features)
        for step in self._steps:
            inputs = step.inputs(mean, features)
            mean = mean + step.ridge.predict(inputs)[0]
            step.ridge.believe(inputs)


def _usable_levels(known: npt.NDArray[np.bool_]) -> list[int]:
    """Columns of known (n, m), ending with the last, such that every step between two is known of enough trials."""
    levels = [known.shape[1] - 1]
    for column in range(known.shape[1] - 2, -1, -1):
        if (known[:, column] & known[:, levels[0]]).sum() >= FEWEST_FOR_A_LEVEL:
            levels.insert(0, column)
    return levels
