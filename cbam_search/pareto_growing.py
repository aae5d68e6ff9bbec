"""Ranks and fronts of points that come one by one: at any time those that `pareto` gives of all so far, without beginning anew.

A rank is the number of points in the longest chain of domination that leads to a point. So the rank of a new point is one more
than the highest among those that dominate it; it pushes back whom it dominates and who stood no higher, and they push others,
rank by rank, until nobody is in the way. That holds with tolerances on one objective too, where domination is not transitive
but has no cycles, see `pareto.ranks`. Once points with tolerances on two or more objectives have come, be it one on each,
domination may run in cycles: then every addition ranks all points anew, by `pareto.ranks`, in O(n^2) of time and memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cbam_search import pareto

Indices = npt.NDArray[np.int64]


class _Points:
    """Points to minimise with their tolerances, in arrays that grow; an index is the place in the order of arrival."""

    def __init__(self, maximise: Sequence[bool]) -> None:
        self.maximise = tuple(maximise)
        self.count = 0
        self._tolerant = np.zeros(len(self.maximise), dtype=np.bool_)
        """(m,): whether some point has a tolerance on the objective."""
        self._rows = np.empty((64, len(self.maximise)))
        self._tolerances = np.zeros_like(self._rows)

    @property
    def exact(self) -> bool:
        """Whether no value has a tolerance so far."""
        return not self._tolerant.any()

    @property
    def may_have_cycles(self) -> bool:
        """Whether several objectives have tolerances so far."""
        return int(self._tolerant.sum()) > 1

    def ranks(self) -> npt.NDArray[np.int64]:
        """(n,), of all points, worked out anew."""
        return pareto.ranks(self._rows[: self.count], [False] * len(self.maximise), self._tolerances[: self.count])

    def add(self, point: npt.ArrayLike, tolerance: npt.ArrayLike) -> int:
        if self.count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._tolerances = np.concatenate([self._tolerances, np.zeros_like(self._tolerances)])
        self._rows[self.count] = pareto.costs(point, self.maximise)[0]
        self._tolerances[self.count] = pareto.checked_tolerances(np.broadcast_to(tolerance, self._rows.shape[1:]), (1, -1))
        self._tolerant |= self._tolerances[self.count] > 0
        self.count += 1
        return self.count - 1

    def dominators(self, index: int, among: Indices | slice) -> npt.NDArray[np.bool_]:
        """Of those `among` the points, (k,): which dominate the one of `index`."""
        return self._dominates(among, index)[..., 0]

    def dominated(self, by: Indices | int, among: Indices | slice) -> npt.NDArray[np.bool_]:
        """Of those `among` the points, (k,): which are dominated by one of `by`."""
        return np.asarray(self._dominates(by, among).any(axis=0))

    def _dominates(self, rows: Indices | slice | int, columns: Indices | slice | int) -> npt.NDArray[np.bool_]:
        """(r, c): whether the point of the row dominates that of the column."""
        a, b = (np.atleast_2d(self._rows[which]) for which in (rows, columns))
        if not self.exact:
            exact_to, other = (np.atleast_2d(self._tolerances[which]) for which in (rows, columns))
            return pareto.domination(a, b, exact_to, other)
        not_worse = np.ones((len(a), len(b)), dtype=np.bool_)
        better = np.zeros_like(not_worse)
        for ours, theirs in zip(a.T, b.T, strict=True):
            not_worse &= ours[:, None] <= theirs
            better |= ours[:, None] < theirs
        return not_worse & better


class GrowingRanks:
    """Non-domination ranks, see `pareto.ranks`.

    A point is compared with those that have come, and with those that are pushed back. Once several objectives have tolerances,
    each `add` and each `extend` ranks all points anew, in O(n^2) of time and memory.
    """

    def __init__(self, maximise: Sequence[bool]) -> None:
        self._points = _Points(maximise)
        self._ranks = np.zeros(64, dtype=np.int32)

    def __len__(self) -> int:
        return self._points.count

    @property
    def ranks(self) -> npt.NDArray[np.int32]:
        """(n,), in the order of arrival."""
        return self._ranks[: len(self)]

    def extend(self, points: npt.ArrayLike, tolerances: npt.ArrayLike) -> None:
        """More points (n, m), exact to their tolerances (n, m); raises ValueError, and takes none, if `pareto.ranks` would."""
        rows = list(zip(np.asarray(points), np.asarray(tolerances), strict=True))
        # Before any is taken: a point that has come and has no rank would spoil the others.
        pareto.checked_tolerances(tolerances, pareto.costs(points, self._points.maximise).shape)
        one_by_one = len(self) > 0
        for point, tolerance in rows:
            index = self._append(point, tolerance)
            if one_by_one and not self._points.may_have_cycles:
                self._insert(index)
        if rows and (not one_by_one or self._points.may_have_cycles):
            self._ranks[: len(self)] = self._points.ranks()

    def add(self, point: npt.ArrayLike, tolerance: npt.ArrayLike = 0.0) -> int:
        """One more point (m,), exact to its tolerance, one for all objectives or (m,); returns its index.

        Raises ValueError, and does not take the point, for a value or a tolerance that is not finite, or a negative tolerance.
        """
        index = self._append(point, tolerance)
        if self._points.may_have_cycles:
            self._ranks[: len(self)] = self._points.ranks()
        else:
            self._insert(index)
        return index

    def _insert(self, index: int) -> None:
        """The rank of the last point that has come, and of those that it pushes back; not for cycles."""
        dominators = self.ranks[:index][self._points.dominators(index, slice(0, index))]
        rank = int(dominators.max(initial=-1)) + 1
        moved = np.array([index])
        while len(moved):
            self._ranks[moved] = rank
            # Exact domination is transitive: whoever a point dominates stood at its rank or behind.
            there = self.ranks == rank if self._points.exact else self.ranks <= rank
            candidates = np.flatnonzero(there)
            moved = candidates[self._points.dominated(moved, candidates)]
            rank += 1

    def _append(self, point: npt.ArrayLike, tolerance: npt.ArrayLike) -> int:
        if len(self) == len(self._ranks):
            self._ranks = np.concatenate([self._ranks, np.zeros_like(self._ranks)])
        return self._points.add(point, tolerance)


class GrowingFront:
    """Indices of the points that nobody dominates, in the order of arrival: those of rank 0, see `pareto.ranks`.

    Once several objectives have tolerances, each `add` ranks all points anew, in O(n^2) of time and memory.
    """

    def __init__(self, maximise: Sequence[bool]) -> None:
        self._points = _Points(maximise)
        self.members: Indices = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """How many points have come."""
        return self._points.count

    def add(self, point: npt.ArrayLike, tolerance: npt.ArrayLike = 0.0) -> bool:
        """One more point (m,), exact to its tolerance, one for all objectives or (m,); returns whether the front has changed.

        Raises ValueError, and does not take the point, for a value or a tolerance that is not finite, or a negative tolerance.
        """
        index = self._points.add(point, tolerance)
        if self._points.may_have_cycles:
            before, self.members = self.members, np.flatnonzero(self._points.ranks() == 0)
            return not np.array_equal(before, self.members)
        left = self.members[~self._points.dominated(index, self.members)]
        # Where domination is not transitive, those behind the front count too.
        rivals: Indices | slice = self.members if self._points.exact else slice(0, index)
        enters = not self._points.dominators(index, rivals).any()
        changed = enters or len(left) < len(self.members)
        self.members = np.append(left, index) if enters else left
        return changed
