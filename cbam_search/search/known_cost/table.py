"""Everything observed so far, in the form that the model takes; what has ended is read once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from cbam_search.search.known_cost.codes import CodedSpace, Codes
from cbam_search.search.known_cost.observations import Observation, Standing

Matrix = npt.NDArray[np.float64]

LEVELS_AT_MOST = 4
"""Epochs before the last that are modelled: those at which most trials were stopped."""
LEARNED_FROM_AT_MOST = 1_500
"""Trials that the model is fitted to. Of more, the newest two thirds of that number, and of the older ones an even
selection.
"""


class ObservationTable:
    """Observations by trial, with their features."""

    def __init__(self, space: CodedSpace) -> None:
        self._space = space
        self.settled: set[int] = set()
        """Numbers of trials that ended and were read."""
        self.known: set[bytes] = set()
        """Codes of every architecture that a trial has, ended or not."""
        self._features: list[npt.NDArray[np.float64]] = []
        self._costs: list[tuple[float, float]] = []
        self._ended: list[Observation] = []
        self._unfit: list[bool] = []
        self._codes: list[Codes | None] = []
        self._running: list[tuple[npt.NDArray[np.float64], tuple[float, float], Observation]] = []

    def update(self, observations: Iterable[Observation]) -> None:
        """Take in observations of trials that are not settled; running ones are those of this call alone."""
        self._running = []
        for observation in observations:
            architecture = observation.architecture
            code = self._space.code(architecture)
            if code is not None:
                self.known.add(code.tobytes())
            if observation.standing is not Standing.RUNNING:
                self.settled.add(observation.number)
            if observation.standing is Standing.SILENT or (features := self._space.features_of(architecture)) is None:
                continue
            costs = self._space.costs_of(architecture)
            if observation.standing is Standing.RUNNING:
                self._running.append((features, costs, observation))
                continue
            odd = observation.standing is Standing.COMPLETE and not _finite(observation.final)
            self._features.append(features)
            self._costs.append(costs)
            self._codes.append(code)
            self._ended.append(observation)
            self._unfit.append(observation.standing is Standing.UNFIT or odd)

    @property
    def complete(self) -> int:
        """Full trainings."""
        return len(self._complete_rows())

    @property
    def running(self) -> int:
        return len(self._running)

    def learned_from(self) -> tuple[Matrix, Matrix]:
        """Features (n, p) and curves (n, levels + 1) of the trials that tell an accuracy, running ones with the epochs they
        have.
        """
        levels = self._levels()
        rows = _selection([row for row, unfit in enumerate(self._unfit) if not unfit], LEARNED_FROM_AT_MOST)
        features = [self._features[row] for row in rows]
        curves = [_curve(self._ended[row], levels) for row in rows]
        if levels:
            features += [entry for entry, _, _ in self._running]
            curves += [_curve(observation, levels) for _, _, observation in self._running]
        return np.array(features), np.array(curves)

    def fitness(self) -> tuple[Matrix, Matrix] | None:
        """Features (n, p) and whether the trial could be trained (n,), 1 or 0; None where all could."""
        if not any(self._unfit):
            return None
        rows = _selection(list(range(len(self._unfit))), LEARNED_FROM_AT_MOST)
        return np.array([self._features[row] for row in rows]), np.array([0.0 if self._unfit[row] else 1.0 for row in rows])

    def front_candidates(self) -> tuple[Matrix, Matrix, list[Codes | None]]:
        """Features (n, p), costs (n, 2) and codes of full trainings: only these can be on a front."""
        rows = self._complete_rows()
        return self._gathered(rows)

    def running_rows(self) -> tuple[Matrix, Matrix]:
        """Features (m, p) and costs (m, 2) of the trials that run."""
        width = len(self._space.map.names)
        features = np.array([entry for entry, _, _ in self._running]).reshape(-1, width)
        return features, np.array([costs for _, costs, _ in self._running]).reshape(-1, 2)

    def all_features(self) -> Matrix:
        """(n, p), of all trials, running ones last."""
        rows = self._features + [entry for entry, _, _ in self._running]
        return np.array(rows).reshape(-1, len(self._space.map.names))

    def _complete_rows(self) -> list[int]:
        return [
            row
            for row, observation in enumerate(self._ended)
            if observation.standing is Standing.COMPLETE and not self._unfit[row]
        ]

    def _gathered(self, rows: Sequence[int]) -> tuple[Matrix, Matrix, list[Codes | None]]:
        width = len(self._space.map.names)
        features = np.array([self._features[row] for row in rows]).reshape(-1, width)
        return features, np.array([self._costs[row] for row in rows]).reshape(-1, 2), [self._codes[row] for row in rows]

    def _levels(self) -> list[int]:
        """Epochs at which trials were stopped, the most frequent ones, in order."""
        stops: dict[int, int] = {}
        for observation in self._ended:
            if observation.standing is Standing.STOPPED and observation.curve:
                last = max(observation.curve)
                stops[last] = stops.get(last, 0) + 1
        return sorted(sorted(stops, key=lambda epoch: (-stops[epoch], epoch))[:LEVELS_AT_MOST])


def _curve(observation: Observation, levels: Sequence[int]) -> list[float]:
    """Accuracies at these epochs and after the last one; NaN where not known, or not finite."""
    last = observation.final if observation.standing is Standing.COMPLETE else None
    values = [*(observation.curve.get(epoch) for epoch in levels), last]
    return [float(value) if value is not None and _finite(value) else math.nan for value in values]


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _selection(rows: list[int], at_most: int) -> list[int]:
    if len(rows) <= at_most:
        return rows
    newest = 2 * at_most // 3
    older = rows[:-newest]
    picked = np.linspace(0, len(older) - 1, at_most - newest).round().astype(int)
    return [older[index] for index in picked] + rows[-newest:]
