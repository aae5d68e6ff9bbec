"""One rung while it fills: the answers of `early_stopping.reason_to_stop`, without ranking the whole rung for each trial."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cbam_search import pareto
from cbam_search.pareto_growing import GrowingRanks
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.search.early_stopping import (
    RungRecord,
    better_than_chance,
    most_hypervolume,
    reason_to_stop,
    reason_without_place,
)


class Rung:
    """The records of one rung, each ranked once: among those better than chance, or among the others.

    records: in the order of arrival.
    """

    def __init__(self) -> None:
        self.records: list[RungRecord] = []
        self._finite = 0
        self._ranked: _Ranked | None = None

    def add(self, record: RungRecord) -> None:
        self.records.append(record)
        self._finite += record.finite

    def reason_to_stop(self, position: int, objectives: Sequence[ObjectiveAxis], reduction_factor: int) -> str | None:
        """Why the trial of the record at `position` does not go on, judged among the records up to it; None where it does."""
        record = self.records[position]
        # Rare, so ranked from scratch: asked after a crash about an earlier record, or an infeasible trial at a rung.
        if position + 1 < len(self.records) or record.excess > 0:
            return reason_to_stop(self.records[: position + 1], record, objectives, reduction_factor)

        def goes_on(axes: Sequence[pareto.Axis], places: int) -> bool:
            if self._ranked is None or self._ranked.axes != axes:
                self._ranked = _Ranked(axes)
            self._ranked.take(self.records)
            return self._ranked.goes_on(record, places)

        return reason_without_place(record, self._finite, objectives, reduction_factor, goes_on)


class _Ranked:
    """The finite, feasible records of a rung, ranked by these axes."""

    def __init__(self, axes: Sequence[pareto.Axis]) -> None:
        self.axes = axes
        self._taken = 0
        self._measured = [index for index, axis in enumerate(axes) if axis.maximise]
        self._useful = GrowingRanks([axis.maximise for axis in axes])
        """Ranks of the records better than chance."""
        self._values: list[tuple[float, ...]] = []
        """Values of the same records."""
        self._at_chance = GrowingRanks([True] * len(self._measured))
        """Ranks of the others, by their trained metrics alone."""

    def take(self, records: Sequence[RungRecord]) -> None:
        """Rank the records that have arrived since the last call. records: all of the rung."""
        fresh = [record for record in records[self._taken :] if record.finite and record.excess <= 0]
        useful = [record for record in fresh if better_than_chance(record, self.axes)]
        self._values += [record.values for record in useful]
        self._useful.extend([record.values for record in useful], [record.tolerances for record in useful])
        others = [record for record in fresh if not better_than_chance(record, self.axes)]
        measured = [[record.values[index] for index in self._measured] for record in others]
        self._at_chance.extend(measured, np.zeros((len(measured), len(self._measured))))
        self._taken = len(records)

    def goes_on(self, record: RungRecord, places: int) -> bool:
        """Whether the record, the last one taken, is among the best."""
        if better_than_chance(record, self.axes):
            return self._has_place(places)
        ranks = self._at_chance.ranks
        return len(self._useful) < places and len(self._useful) + int((ranks < ranks[-1]).sum()) < places

    def _has_place(self, places: int) -> bool:
        """Whether the last record better than chance is among the best: by rank, then hypervolume, as in `early_stopping`."""
        ranks = self._useful.ranks
        left = places - int((ranks < ranks[-1]).sum())
        members = np.flatnonzero(ranks == ranks[-1])
        if len(members) <= left:
            return True
        if left <= 0:
            return False
        values = np.array([self._values[index] for index in members])
        first_rank = bool(ranks[-1] == 0)
        return len(members) - 1 in most_hypervolume(values, np.arange(len(members)), self.axes, left, first_rank=first_rank)
