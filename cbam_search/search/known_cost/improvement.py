"""Expected hypervolume improvement where one objective is uncertain and all others are known; exact.

Everything is on the normalised axes of `pareto`: known costs (n, k) to minimise with their references at 1 and ideals at 0, k
from 0 to 2, and an accuracy to maximise with its reference at 0 and its ideal at 1.

How much the hypervolume grows when a candidate of costs c reaches accuracy y is the integral, from 0 to y, of

    V(t) = the volume of costs that c dominates and no member of the front with accuracy of at least t does,

and V is constant between the accuracies of the front. So the expectation over y ~ N(mean, deviation^2) is a sum over these
strips of V times a difference of two one-dimensional expected improvements (Jones, Schonlau and Welch 1998, equation 15). For
two uncertain objectives the same decomposition is that of Emmerich, Deutz and Klinkenberg (CEC 2011); with a known
one their second factor is the width of the strip.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

KNOWN_AT_MOST = 2


def expected_improvement(mean: Vector, deviation: Vector, above: Vector) -> Vector:
    """E[max(0, y - above)] for y ~ N(mean, deviation^2), element by element; exact also where the deviation is 0."""
    gain = mean - above
    safe = np.maximum(deviation, 1e-300)
    z = np.clip(gain / safe, -40.0, 40.0)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    improvement = np.where(deviation > 0, gain * ndtr(z) + deviation * density, gain)
    return np.asarray(np.maximum(improvement, 0.0))


def expected_hypervolume_improvement(
    costs: Matrix, mean: Vector, deviation: Vector, front_costs: Matrix, front_accuracy: Vector
) -> Vector:
    """(n,), for candidates with costs (n, k), mean and deviation (n,), over any points with costs (f, k) and accuracy (f,).

    Accuracy above the ideal counts in full, as a normal distribution has it; costs beyond the reference are worth nothing.
    """
    count, known = costs.shape
    if known > KNOWN_AT_MOST:
        raise ValueError(f"{known} known costs: the expected improvement is worked out for at most {KNOWN_AT_MOST}")
    useful = (front_accuracy > 0.0) & (front_costs < 1.0).all(axis=1)
    front_costs, front_accuracy = np.maximum(front_costs[useful], 0.0), front_accuracy[useful]
    costs = np.maximum(costs, 0.0)
    levels = np.unique(np.append(front_accuracy, 0.0))
    total = np.zeros(count)
    before = expected_improvement(mean, deviation, np.zeros(count))
    for index, level in enumerate(levels):
        # Between this level and the next, the members above this level stand in the way.
        volume = exclusive_volume(costs, front_costs[front_accuracy > level])
        if index + 1 < len(levels):
            after = expected_improvement(mean, deviation, np.full(count, levels[index + 1]))
        else:
            after = np.zeros(count)
        total += volume * (before - after).clip(min=0.0)
        before = after
    return total


def exclusive_volume(costs: Matrix, others: Matrix) -> Vector:
    """(n,), of the box from costs (n, k) to 1 the part that none of others (f, k) dominates."""
    known = costs.shape[1]
    if known == 0:
        return np.full(len(costs), 0.0 if len(others) else 1.0)
    if known == 1:
        end = np.minimum(others.min(initial=1.0), 1.0)
        return np.asarray(np.maximum(end - costs[:, 0], 0.0))
    # Slices along the first cost: from one member's to the next, the least second cost of the members so far bounds the box.
    others = np.minimum(others, 1.0)
    order = np.lexsort((others[:, 1], others[:, 0]))
    starts = np.concatenate([[0.0], others[order, 0]])
    ends = np.concatenate([others[order, 0], [1.0]])
    ceilings = np.concatenate([[1.0], np.minimum.accumulate(others[order, 1])])
    widths = np.maximum(ends[None] - np.maximum(starts[None], costs[:, :1]), 0.0)
    heights = np.maximum(ceilings[None] - costs[:, 1:], 0.0)
    return np.asarray((widths * heights).sum(axis=1))
