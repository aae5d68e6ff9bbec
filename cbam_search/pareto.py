"""Dominance, fronts and hypervolume of points with known directions; numpy, scipy and moocore only.

Points are (n, m) arrays, one row a point and one column an objective. `maximise` says of each column whether more is better.
Directions are normalised here, once; everything below works on costs to minimise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One objective as the hypervolume sees it.

    reference: the value that is worth nothing; ideal: the value that is worth everything. On the normalised axis these are 1
    and 0, whatever the direction.
    """

    name: str
    maximise: bool
    reference: float
    ideal: float

    def __post_init__(self) -> None:
        if not np.isfinite([self.reference, self.ideal]).all() or self.reference == self.ideal:
            raise ValueError(f"axis {self.name}: reference {self.reference} and ideal {self.ideal} must be finite and differ")
        if self.maximise != (self.ideal > self.reference):
            raise ValueError(f"axis {self.name}: the ideal must be better than the reference")


def costs(points: npt.ArrayLike, maximise: Sequence[bool]) -> Points:
    """Points (n, m) with every objective to be minimised; raises ValueError for a value that is not finite."""
    rows = np.asarray(points, dtype=np.float64).reshape(-1, len(maximise))
    if not np.isfinite(rows).all():
        raise ValueError("every objective of every point must be finite")
    return np.where(np.asarray(maximise), -rows, rows)


def dominates(a: npt.ArrayLike, b: npt.ArrayLike, maximise: Sequence[bool], tolerance: npt.ArrayLike = 0.0) -> bool:
    """Whether point `a` is at least as good as `b` in every objective, and better in one.

    tolerance: one for all objectives, or (m,) one each; differences of at most that count as none.
    """
    row_a, row_b = costs(a, maximise)[0], costs(b, maximise)[0]
    tolerance = np.asarray(tolerance, dtype=np.float64)
    return bool((row_a <= row_b + tolerance).all() and (row_a < row_b - tolerance).any())


def ranks(points: npt.ArrayLike, maximise: Sequence[bool], tolerances: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
    """Non-domination rank of each point, (n,); 0 is the Pareto front. Equal points of equal tolerance have equal ranks.

    points: (n, m). tolerances: (n, m), how exact each value is; 0 everywhere by default. Two values are told apart when they
    differ by more than the larger of their two tolerances. Raises ValueError for a value that is not finite, and for a
    tolerance that is not finite or is negative.

    The rank of a point is the number of points on the longest chain of domination that leads to it. (Domination with
    tolerances is not transitive: a may dominate b, and b dominate c, while a and c tie; c is then in the rank behind b's all
    the same, as it is dominated.)

    Where one objective at most has tolerances, domination cannot run in a cycle: in one, no exact objective could ever get
    better, for it would have to get worse again, which domination forbids. So each step would be strictly better in the
    tolerant objective, by more than its tolerance, and nothing is strictly better than itself.

    Where several objectives have tolerances, be it those of different points, cycles exist: a dominates b, b dominates c, and
    c dominates a. Points that lead to one another by domination cannot be told apart. They count as one point: they share a
    rank, and none of them is dominated by another of them. What then remains has no cycle, so the front is never empty. This
    takes an (n, n) array of booleans, and for each True in it some 30 bytes more while the cycles are looked for: fine for
    some thousands of points.
    """
    rows = costs(points, maximise)
    if len(rows) == 0:
        return np.empty(0, dtype=np.int64)
    if tolerances is not None and (given := checked_tolerances(tolerances, rows.shape)).any():
        return _chained(rows, given) if given.any(axis=0).sum() == 1 else _with_cycles(rows, given)
    distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
    return np.asarray(moocore.pareto_rank(distinct), dtype=np.int64)[inverse.reshape(-1)]


def checked_tolerances(given: npt.ArrayLike, shape: tuple[int, ...]) -> Points:
    """Tolerances in this shape, (n, m); raises ValueError where one is not finite or is negative."""
    tolerances = np.asarray(given, dtype=np.float64).reshape(shape)
    if not (np.isfinite(tolerances) & (tolerances >= 0)).all():
        raise ValueError("every tolerance must be finite and not negative")
    return tolerances


def domination(rows: Points, others: Points, tolerances: Points, of_others: Points) -> npt.NDArray[np.bool_]:
    """(n, k): whether the point of `rows` (n, m) dominates that of `others` (k, m), all to minimise, with tolerances alike."""
    not_worse = np.ones((len(rows), len(others)), dtype=np.bool_)
    better = np.zeros_like(not_worse)
    for ours, theirs, exact_to, theirs_to in zip(rows.T, others.T, tolerances.T, of_others.T, strict=True):
        tolerance = np.maximum.outer(exact_to, theirs_to)
        not_worse &= ours[:, None] <= theirs + tolerance
        better |= ours[:, None] < theirs - tolerance
    return not_worse & better


def _chained(rows: Points, tolerances: Points) -> npt.NDArray[np.int64]:
    """Ranks where one objective has tolerances, in O(n) of memory: one more than the highest rank among those that dominate.

    By exact objectives first, whoever dominates comes before those dominated.
    """
    tolerant = tolerances.any(axis=0)
    order = np.lexsort((*rows.T[tolerant], *rows.T[~tolerant]))
    rows, tolerances = rows[order], tolerances[order]
    found = np.zeros(len(rows), dtype=np.int64)
    for place in range(1, len(rows)):
        before, here = slice(0, place), slice(place, place + 1)
        dominators = domination(rows[before], rows[here], tolerances[before], tolerances[here])[:, 0]
        found[place] = found[before][dominators].max(initial=-1) + 1
    ranks = np.empty_like(found)
    ranks[order] = found
    return ranks


def _with_cycles(rows: Points, tolerances: Points) -> npt.NDArray[np.int64]:
    """Ranks where several objectives have tolerances: cycles are found first, then each is peeled off as one point."""
    count = len(rows)
    dominates = np.empty((count, count), dtype=np.bool_)
    # Piece by piece: on the way `domination` takes floats for each pair, eight times as much memory as its answer.
    step = max(1, 2**20 // count)
    for start in range(0, count, step):
        piece = slice(start, start + step)
        dominates[piece] = domination(rows[piece], rows, tolerances[piece], tolerances)
    cycles, cycle = connected_components(csr_array(dominates), connection="strong")
    better, worse = dominates.nonzero()
    dominates = np.zeros((cycles, cycles), dtype=np.bool_)
    dominates[cycle[better], cycle[worse]] = True
    np.fill_diagonal(dominates, False)
    ranks: npt.NDArray[np.int64] = np.empty(cycles, dtype=np.int64)
    dominators = dominates.sum(axis=0)
    rank = 0
    while len(front := np.flatnonzero(dominators == 0)):
        ranks[front] = rank
        dominators -= dominates[front].sum(axis=0)
        dominators[front] = -1
        rank += 1
    return ranks[np.asarray(cycle, dtype=np.intp)]


def hypervolume(points: npt.ArrayLike, axes: Sequence[Axis]) -> float:
    """Share of the box between ideal and reference that the points dominate, in [0, 1]; 0.0 for no point.

    A point beyond the ideal counts as at the ideal; one no better than the reference on some axis adds nothing.
    """
    rows = np.asarray(points, dtype=np.float64).reshape(-1, len(axes))
    if len(rows) == 0:
        return 0.0
    costs(rows, [axis.maximise for axis in axes])
    ideal = np.array([axis.ideal for axis in axes])
    reference = np.array([axis.reference for axis in axes])
    normalised = np.clip((rows - ideal) / (reference - ideal), 0.0, None)
    inside = normalised[(normalised < 1.0).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=np.ones(len(axes)))) if len(inside) else 0.0


_NOTHING = 1e-12
"""Hypervolumes, at most 1, that differ by less differ by rounding."""


def by_hypervolume(points: npt.ArrayLike, axes: Sequence[Axis]) -> Iterator[tuple[int, float]]:
    """Indices of points with the hypervolume that each adds to those before it, the most first; worked out as they are taken.

    Greedy, so that the first n dominate at least 1 - 1/e of what the best choice of n would: hypervolume is submodular
    (Nemhauser, Wolsey and Fisher, 1978). Points that would add nothing are left out. Of points that would add the same, the one
    whose values come first in lexicographic order is taken, so that the choice depends on the values, not on their order; of
    equal points, the first.
    """
    rows = np.asarray(points, dtype=np.float64).reshape(-1, len(axes))
    chosen: list[int] = []
    total = 0.0
    # What a point adds only shrinks as others are chosen: a bound that was found earlier holds, and few are worked out again.
    bounds = {int(index): np.inf for index in np.lexsort(rows.T[::-1])}
    while bounds:
        gains: dict[int, float] = {}
        most = _NOTHING
        for index, bound in sorted(bounds.items(), key=lambda entry: -entry[1]):
            if bound < most - _NOTHING:
                break
            gains[index] = bounds[index] = hypervolume(rows[[*chosen, index]], axes) - total
            most = max(most, gains[index])
        if most <= _NOTHING:
            return
        # Whoever could add as much was worked out; bounds are in lexicographic order.
        best = next(index for index in bounds if gains.get(index, 0.0) >= most - _NOTHING)
        chosen.append(best)
        total += gains[best]
        del bounds[best]
        yield best, gains[best]


def knee(points: npt.ArrayLike, maximise: Sequence[bool]) -> int:
    """Index of the point closest to the ideal of the set: each axis scaled to the set's own range, Euclidean distance.

    Ties go to the first. Raises ValueError for no point.
    """
    rows = costs(points, maximise)
    if len(rows) == 0:
        raise ValueError("there is no point to choose from")
    low, high = rows.min(axis=0), rows.max(axis=0)
    scaled = (rows - low) / np.where(high > low, high - low, 1.0)
    return int(np.argmin(np.linalg.norm(scaled, axis=1)))
