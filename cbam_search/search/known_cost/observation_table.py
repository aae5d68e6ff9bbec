"""Everything observed so far, in the form that the model takes; what has ended is read once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cbam_search.records.evaluation import Evaluation
from cbam_search.records.trials import TrialState
from cbam_search.search.known_cost.codes import Codes
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.search.known_cost.observations import TELLS_NOTHING, UNFIT

Matrix = npt.NDArray[np.float64]

LEVELS_AT_MOST = 4
"""Epochs before the last that are modelled: those at which most trials were stopped."""
LEARNED_FROM_AT_MOST = 1_500
"""Trials that the model is fitted to. Of more, the newest two thirds of that number, and of the older ones an even
selection.
"""


@dataclass(frozen=True)
class _Curve:
    """The objective by epoch, as far as it is known, and after a full training; final is None for any other."""

    by_epoch: Mapping[int, float]
    final: float | None


class ObservationTable:
    """Trainings by trial, with their features. Rows are the trials that ended and tell something, in the order read."""

    def __init__(self, described: CostsAndFeatures, objective: str) -> None:
        """objective: the trained metric that is modelled."""
        self._described = described
        self._objective = objective
        self.settled: set[int] = set()
        """Numbers of trials that ended and were read."""
        self.known: set[bytes] = set()
        """Codes of every architecture that a trial has, ended or not."""
        self._features = np.empty((64, len(described.map.names)))
        self._costs: list[tuple[float, float]] = []
        self._ended: list[_Curve] = []
        self._codes: list[Codes | None] = []
        self._fit_rows: list[int] = []
        """Rows of trials that could be trained."""
        self._complete_rows: list[int] = []
        """Rows of full trainings, which are among those."""
        self._stops: dict[int, int] = {}
        """How many trials were stopped, by the last epoch of their curves."""
        self._running: list[tuple[npt.NDArray[np.float64], tuple[float, float], _Curve]] = []

    def update(self, evaluations: Iterable[Evaluation]) -> None:
        """Take in trainings of trials that are not settled; running ones are those of this call alone."""
        self._running = []
        for evaluation in evaluations:
            architecture = evaluation.architecture
            assert architecture is not None
            assert evaluation.trial is not None
            code = self._described.coded.code(architecture)
            if code is not None:
                self.known.add(code.tobytes())
            if evaluation.state is not TrialState.RUNNING:
                self.settled.add(evaluation.trial)
            if evaluation.state in TELLS_NOTHING or (features := self._described.features_of(architecture)) is None:
                continue
            costs = self._described.costs_of(architecture)
            curve = _Curve(evaluation.curve(self._objective), evaluation.final(self._objective))
            if evaluation.state is TrialState.RUNNING:
                self._running.append((features, costs, curve))
            else:
                self._add(evaluation.state, curve, features, costs, code)

    def _add(
        self,
        state: TrialState,
        curve: _Curve,
        features: npt.NDArray[np.float64],
        costs: tuple[float, float],
        code: Codes | None,
    ) -> None:
        row = len(self._ended)
        if row == len(self._features):
            self._features = np.concatenate([self._features, np.empty_like(self._features)])
        self._features[row] = features
        self._costs.append(costs)
        self._codes.append(code)
        self._ended.append(curve)
        complete = state is TrialState.COMPLETE
        if state not in UNFIT and (not complete or _finite(curve.final)):
            self._fit_rows.append(row)
            if complete:
                self._complete_rows.append(row)
        if state is TrialState.STOPPED and curve.by_epoch:
            last = max(curve.by_epoch)
            self._stops[last] = self._stops.get(last, 0) + 1

    @property
    def complete(self) -> int:
        """Full trainings."""
        return len(self._complete_rows)

    def learned_from(self) -> tuple[Matrix, Matrix]:
        """Features (n, p) and curves (n, levels + 1) of the trials that tell an accuracy, running ones with the epochs they
        have.
        """
        levels = self._levels()
        rows = _selection(self._fit_rows, LEARNED_FROM_AT_MOST)
        curves = [_curve(self._ended[row], levels) for row in rows]
        if not levels:
            return self._features[rows], np.array(curves)
        curves += [_curve(curve, levels) for _, _, curve in self._running]
        return np.concatenate([self._features[rows], self.running_rows()[0]]), np.array(curves)

    def fitness(self) -> tuple[Matrix, Matrix] | None:
        """Features (n, p) and whether the trial could be trained (n,), 1 or 0; None where all could."""
        if len(self._fit_rows) == len(self._ended):
            return None
        fit = np.zeros(len(self._ended))
        fit[self._fit_rows] = 1.0
        rows = _selection(range(len(fit)), LEARNED_FROM_AT_MOST)
        return self._features[rows], fit[rows]

    def front_candidates(self) -> tuple[Matrix, Matrix, list[Codes | None]]:
        """Features (n, p), costs (n, 2) and codes of full trainings: only these can be on a front."""
        rows = self._complete_rows
        costs = np.array([self._costs[row] for row in rows]).reshape(-1, 2)
        return self._features[rows], costs, [self._codes[row] for row in rows]

    def running_rows(self) -> tuple[Matrix, Matrix]:
        """Features (m, p) and costs (m, 2) of the trials that run."""
        features = np.array([entry for entry, _, _ in self._running]).reshape(-1, self._features.shape[1])
        return features, np.array([costs for _, costs, _ in self._running]).reshape(-1, 2)

    def all_features(self) -> Matrix:
        """(n, p), of all trials, running ones last."""
        return np.concatenate([self._features[: len(self._ended)], self.running_rows()[0]])

    def _levels(self) -> list[int]:
        """Epochs at which trials were stopped, the most frequent ones, in order."""
        return sorted(sorted(self._stops, key=lambda epoch: (-self._stops[epoch], epoch))[:LEVELS_AT_MOST])


def _curve(curve: _Curve, levels: Sequence[int]) -> list[float]:
    """Values at these epochs and after the last one; NaN where not known, or not finite."""
    values = [*(curve.by_epoch.get(epoch) for epoch in levels), curve.final]
    return [float(value) if value is not None and _finite(value) else math.nan for value in values]


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _selection(rows: Sequence[int], at_most: int) -> list[int]:
    if len(rows) <= at_most:
        return list(rows)
    newest = 2 * at_most // 3
    older = len(rows) - newest
    picked = np.linspace(0, older - 1, at_most - newest).round().astype(int)
    return [*(rows[index] for index in picked), *rows[older:]]
