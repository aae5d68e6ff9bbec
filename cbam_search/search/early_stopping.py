"""Whether a trial goes on past a rung: asynchronous successive halving over several objectives.

A rung is a number of epochs at which trials are compared; of those that reached it, about one in `reduction_factor` goes on.
Asynchronous successive halving is Li et al., arXiv 1810.05934; ranking by non-domination instead of by one metric is Schmucker
et al., arXiv 2106.12639. As in the stopping variant of the former, a trial is judged the moment it arrives, among those
recorded by then, and goes on in place: nothing waits for a rung to fill, and nothing stopped comes back. Departures:

- Ties, and a rank that has more trials than may go on, are settled by hypervolume contribution to the study's fixed reference
  point, where Schmucker et al. take epsilon-nets or crowding distance, which keep the ends of the front for ever.
- A trial no better than chance comes after every trial that is, whatever its rank: the cheapest network is always of rank 0,
  and it is not kept merely for being cheap. Among such trials cost does not count.
- A front has many members, and a search wants all of them: of the first rank, those that add `NOTABLE` to the hypervolume go on
  however few the places are. With one in `reduction_factor` of them alone, searches lost the front that they had begun
  (measured on tables of real trainings, benchmarks/results).

Everything here is a function of its arguments: no clock, no chance, no Ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cbam_search import pareto
from cbam_search.records.manifest import ObjectiveAxis

NOTABLE = 0.001
"""Share of the hypervolume of those before it."""


@dataclass(frozen=True)
class RungRecord:
    """What a trial had reached at a rung.

    values: (objectives,), in the study's order: metrics of that epoch, and costs.
    tolerances: (objectives,), differences of values up to these count as ties, see `pareto.ranks`.
    excess: by what share the worst constraint is exceeded; 0.0 for a feasible trial.
    exempt: never stopped, as published designs are; its values still count when others are compared.
    """

    trial: int
    values: tuple[float, ...]
    tolerances: tuple[float, ...]
    excess: float = 0.0
    exempt: bool = False

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.values))


def rung_levels(grace_period: int, reduction_factor: int, epochs: int) -> tuple[int, ...]:
    """Epochs of the rungs: grace_period * reduction_factor**k, below the full budget of `epochs`."""
    levels = []
    level = grace_period
    while level < epochs:
        levels.append(level)
        level *= reduction_factor
    return tuple(levels)


def reason_to_stop(
    rung: Sequence[RungRecord], record: RungRecord, objectives: Sequence[ObjectiveAxis], reduction_factor: int
) -> str | None:
    """Why the trial of `record`, one of `rung`, does not go on; None where it does.

    rung: what was recorded at one number of epochs, `record` among it. Of n finite records the best n // reduction_factor go
    on, and those that add a notable part to the hypervolume of their front. While n < reduction_factor every trial goes on:
    there is too little to compare with, and ASHA starts in the same way.
    No trial is stopped while the reference point is not fixed (of a measured cost it is, after the published designs).
    """
    finite = [entry for entry in rung if entry.finite]

    def goes_on(axes: Sequence[pareto.Axis], places: int) -> bool:
        return record.trial in _going_on(finite, record, axes, places)

    return reason_without_place(record, len(finite), objectives, reduction_factor, goes_on)


def reason_without_place(
    record: RungRecord,
    finite: int,
    objectives: Sequence[ObjectiveAxis],
    reduction_factor: int,
    goes_on: Callable[[Sequence[pareto.Axis], int], bool],
) -> str | None:
    """As `reason_to_stop`, for a caller that ranks the rung by itself.

    finite: number of finite records at the rung.
    goes_on: (axes, places) -> whether the record is among the best `places`; called only where that decides.
    """
    if record.exempt:
        return None
    if not record.finite:
        names = [axis.name for axis, value in zip(objectives, record.values, strict=True) if not math.isfinite(value)]
        return f"{' and '.join(names)} not finite"
    axes = [axis for objective in objectives if (axis := objective.axis()) is not None]
    places = finite // reduction_factor
    if places == 0 or len(axes) < len(objectives) or goes_on(axes, places):
        return None
    return f"not among the best {places} of {finite} there"


def _going_on(rung: Sequence[RungRecord], asked: RungRecord, axes: Sequence[pareto.Axis], places: int) -> set[int]:
    """The trials of the best `places` records: feasible before infeasible, better than chance before the others.

    There are more of them where the last ones tie. The answer is certain for `asked` alone: where its rank decides already,
    no hypervolumes are compared, since that takes the most time.
    """
    feasible = [record for record in rung if record.excess <= 0]
    useful = [record for record in feasible if better_than_chance(record, axes)]
    going_on: set[int] = set()
    _add_useful(going_on, useful, asked, axes, places)
    if len(useful) < places:
        _add_by_rank(going_on, [record for record in feasible if not better_than_chance(record, axes)], axes, places)
    if len(feasible) < places:
        infeasible = [record for record in rung if record.excess > 0]
        _add_groups(going_on, infeasible, np.array([record.excess for record in infeasible]), places)
    return going_on


def better_than_chance(record: RungRecord, axes: Sequence[pareto.Axis]) -> bool:
    """In every objective to maximise. These are measured in training, and their reference is what a constant answer scores."""
    return all(value > axis.reference for value, axis in zip(record.values, axes, strict=True) if axis.maximise)


def _add_useful(
    going_on: set[int], records: Sequence[RungRecord], asked: RungRecord, axes: Sequence[pareto.Axis], places: int
) -> None:
    """Add whole ranks while places are left; of the rank that does not fit, what `most_hypervolume` chooses."""
    values = np.array([record.values for record in records]).reshape(-1, len(axes))
    tolerances = np.array([record.tolerances for record in records]).reshape(values.shape)
    ranks = pareto.ranks(values, [axis.maximise for axis in axes], tolerances)
    left = places
    for rank, members in enumerate(_groups(ranks)):
        if len(members) > left:
            if all(records[index].trial != asked.trial for index in members):
                return
            chosen = most_hypervolume(values, members, axes, left, first_rank=rank == 0)
            going_on.update(records[index].trial for index in chosen)
            return
        going_on.update(records[index].trial for index in members)
        left -= len(members)


def most_hypervolume(
    values: pareto.Points, members: npt.NDArray[np.int64], axes: Sequence[pareto.Axis], places: int, *, first_rank: bool
) -> list[int]:
    """The members of one rank that take the places: one by one, whichever adds the most hypervolume to those before it.

    values: (n, objectives). members: indices of the rank's records in `values`. first_rank: members that add `NOTABLE` of the
    hypervolume go on even when no place is left. Equal points go on together, even beyond the last place.
    """
    distinct, group, sizes = np.unique(values[members], axis=0, return_inverse=True, return_counts=True)
    chosen: list[int] = []
    total = 0.0
    for index, gain in pareto.by_hypervolume(distinct, axes):
        if places <= 0 and not (first_rank and gain >= NOTABLE * total):
            break
        chosen += [int(member) for member in members[group.reshape(-1) == index]]
        places -= int(sizes[index])
        total += gain
    return chosen


def _add_by_rank(going_on: set[int], records: Sequence[RungRecord], axes: Sequence[pareto.Axis], places: int) -> None:
    """Add records no better than chance by trained metrics alone: each has hypervolume 0, and low cost does not count."""
    measured = [index for index, axis in enumerate(axes) if axis.maximise]
    values = np.array([record.values for record in records]).reshape(-1, len(axes))[:, measured]
    _add_groups(going_on, records, pareto.ranks(values, [True] * len(measured)), places)


def _add_groups(going_on: set[int], records: Sequence[RungRecord], keys: npt.NDArray[np.generic], places: int) -> None:
    """Add the records with the smallest keys, equal ones together, until all places are taken."""
    for members in _groups(keys):
        if len(going_on) >= places:
            return
        going_on.update(records[index].trial for index in members)


def _groups(keys: npt.NDArray[np.generic]) -> list[npt.NDArray[np.int64]]:
    """Indices of equal keys, the smallest key first."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    return [group for group in np.split(order, starts) if len(group)]
