"""The next candidate, from all that was observed. Knows no Optuna and no records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cbam_search.pareto import Axis, ranks
from cbam_search.search.known_cost.candidates import WHOLE_SPACE_AT_MOST, crossings, distinct, mutants, strangers
from cbam_search.search.known_cost.codes import Codes
from cbam_search.search.known_cost.costs_and_features import COSTS, CostsAndFeatures
from cbam_search.search.known_cost.design import InitialDesign
from cbam_search.search.known_cost.improvement import expected_hypervolume_improvement
from cbam_search.search.known_cost.observation_table import ObservationTable
from cbam_search.search.known_cost.surrogate import Ridge, Surrogate, to_accuracy

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

FEWEST_FULL_TRAININGS = 4
"""Before there are so many, no model is fitted."""
CLIMBS, CLIMBERS = 2, 12
"""Rounds in which the best candidates so far become parents, and how many of them."""
PARENTS_AT_MOST = 32
LEAST_FITNESS = 0.02


@dataclass(frozen=True)
class Proposal:
    """code: None where nothing new was found. by_model: whether the model chose it, or the initial design."""

    code: Codes | None
    by_model: bool
    improvement: float = 0.0


class KnownCostSearch:
    """Expected hypervolume improvement over the posterior-mean front, with exact costs.

    accuracy: the axis of the measured objective; costs: those of known ones, among gflops and params. bounds: upper ones, by
    name. startup: plain designs before the model, at most.
    """

    def __init__(
        self, described: CostsAndFeatures, accuracy: Axis, costs: Sequence[Axis], bounds: Mapping[str, float], *, startup: int
    ) -> None:
        self._described = described
        coded = self._coded = described.coded
        self._accuracy = accuracy
        self._axes = list(costs)
        self._columns = [COSTS.index(axis.name) for axis in costs]
        self._bounds = np.array([bounds.get(name, np.inf) for name in COSTS])
        self._whole = self._feasible(coded.all()) if coded.space.count() <= WHOLE_SPACE_AT_MOST else None
        self._design = InitialDesign(described, self._feasible, self._whole)
        self._startup = startup

    def propose(self, table: ObservationTable, rng: np.random.Generator) -> Proposal:
        """The next candidate: within bounds, and of no trial in `table`."""
        if table.complete < FEWEST_FULL_TRAININGS or self._design.is_due(table, self._startup):
            return Proposal(self._design.next(table, rng), by_model=False)
        return self._by_model(table, rng)

    def _by_model(self, table: ObservationTable, rng: np.random.Generator) -> Proposal:
        surrogate = Surrogate(*table.learned_from())
        running, running_costs = table.running_rows()
        surrogate.believe(running)
        fitness = _fitness(table)
        front = self._posterior_front(surrogate, table, running, running_costs)

        def worth(codes: Codes) -> Vector:
            costs = self._described.costs(codes)
            features = self._described.features(codes, costs)
            mean, deviation = self._normalised(surrogate, features)
            value = expected_hypervolume_improvement(self._known(costs), mean, deviation, *front.points)
            # Where nothing improves, what is least known; far below any improvement that could be noticed.
            return (value + 1e-12 * deviation) * (fitness(features) if fitness else 1.0)

        if self._whole is not None:
            codes = distinct(self._whole, table.known)
            return _best(codes, worth(codes)) if len(codes) else Proposal(None, by_model=True)
        made = [strangers(self._coded, rng)]
        if len(front.codes):
            made += [mutants(self._coded, front.codes, rng), crossings(self._coded, front.codes, rng)]
        codes = distinct(self._feasible(np.concatenate(made)), table.known)
        values = worth(codes)
        for _ in range(CLIMBS):
            if len(codes) == 0:
                break
            best = codes[np.argsort(-values, kind="stable")[:CLIMBERS]]
            made_before = {row.tobytes() for row in codes}
            more = distinct(self._feasible(mutants(self._coded, best, rng, 8 * CLIMBERS)), table.known, made_before)
            if len(more):
                codes, values = np.concatenate([codes, more]), np.concatenate([values, worth(more)])
        return _best(codes, values) if len(codes) else Proposal(None, by_model=True)

    def _posterior_front(self, surrogate: Surrogate, table: ObservationTable, running: Matrix, running_costs: Matrix) -> _Front:
        """Of full trainings at their predicted means, never at the values observed, of which the best are the luckiest. Trials
        that run are counted as trained with what is predicted of them, so that the next candidate adds to them.
        """
        features, costs, codes = table.front_candidates()
        mean, _ = self._normalised(surrogate, np.concatenate([features, running]))
        known = self._known(np.concatenate([costs, running_costs]))
        rank = ranks(np.column_stack([mean, known]), [True] + [False] * known.shape[1])
        on_front = np.flatnonzero(rank == 0)
        order = [row for row in np.argsort(rank, kind="stable") if row < len(codes) and rank[row] <= 1]
        parents = [code for row in order[:PARENTS_AT_MOST] if (code := codes[row]) is not None]
        # Under bounds, parents outside the space or none at all are possible.
        stacked = np.stack(parents) if parents else np.empty((0, self._coded.width), dtype=np.int32)
        return _Front((known[on_front], mean[on_front]), stacked)

    def _normalised(self, surrogate: Surrogate, features: Matrix) -> tuple[Vector, Vector]:
        """Mean and deviation (n,) of the accuracy of full trainings, from 0 at the reference to 1 at the ideal."""
        posterior = surrogate.predict(features)
        mean, deviation = to_accuracy(posterior.mean, posterior.variance)
        span = self._accuracy.ideal - self._accuracy.reference
        return (mean - self._accuracy.reference) / span, deviation / span

    def _known(self, costs: Matrix) -> Matrix:
        """Normalised costs (n, k) of the objectives, from costs (n, 2)."""
        ends = [((costs[:, column] - axis.ideal) / (axis.reference - axis.ideal)) for column, axis in self._by_axis()]
        return np.column_stack(ends) if ends else np.empty((len(costs), 0))

    def _by_axis(self) -> list[tuple[int, Axis]]:
        return list(zip(self._columns, self._axes, strict=True))

    def _feasible(self, codes: Codes) -> Codes:
        if np.isinf(self._bounds).all():
            return codes
        # The comparison that `feasibility.excess` makes.
        return np.asarray(codes[(self._described.costs(codes) / self._bounds - 1.0 <= 0.0).all(axis=1)])


@dataclass(frozen=True)
class _Front:
    """points: (costs (f, k), accuracy (f,)), normalised. codes: (m, width), of its members and those behind it in the space."""

    points: tuple[Matrix, Vector]
    codes: Codes


class _Fitness:
    """The chance that a candidate can be trained at all, from trials that diverged or did not fit."""

    def __init__(self, features: Matrix, fit: Vector) -> None:
        self._ridge = Ridge(features, fit)

    def __call__(self, features: Matrix) -> Vector:
        return np.clip(self._ridge.predict(features)[0], LEAST_FITNESS, 1.0)


def _fitness(table: ObservationTable) -> _Fitness | None:
    known = table.fitness()
    return _Fitness(*known) if known else None


def _row(codes: Codes, index: int) -> Codes:
    return np.asarray(codes[index])


def _best(codes: Codes, values: Vector) -> Proposal:
    index = int(np.argmax(values))
    return Proposal(_row(codes, index), by_model=True, improvement=float(values[index]))
