"""What a model may learn from: for every trial its architecture, its accuracy by epoch, and how it ended."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from cbam_search.architecture import Architecture
from cbam_search.space.space import Space


class Standing(Enum):
    """How a trial stands. unfit: diverged, or infeasible when it ran. silent: it ended and says nothing of its architecture."""

    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    UNFIT = "unfit"
    SILENT = "silent"


@dataclass(frozen=True)
class Observation:
    """One trial. curve: the measured objective by epoch, as far as it is known. final: its value after the last epoch, of
    complete trials alone.
    """

    number: int
    architecture: Architecture
    standing: Standing
    curve: Mapping[int, float] = field(default_factory=dict)
    final: float | None = None


class Observations(Protocol):
    """Where observations come from."""

    def unsettled(self, study: optuna.Study, settled: Container[int]) -> Iterator[Observation]:
        """Every trial with an architecture whose number is not in `settled`, in the order of numbers."""


class StoredObservations:
    """From Optuna's storage alone: parameters, values, intermediate values by epoch, and constraints of pruned trials.

    objective: which of the study's objectives is the measured one.
    """

    def __init__(self, space: Space, objective: int) -> None:
        self._space = space
        self._objective = objective

    def unsettled(self, study: optuna.Study, settled: Container[int]) -> Iterator[Observation]:
        for trial in study.get_trials(deepcopy=False):
            if trial.number not in settled and (architecture := self._architecture(trial)) is not None:
                yield self._observation(trial, architecture)

    def _architecture(self, trial: FrozenTrial) -> Architecture | None:
        """None for a trial that lacks some of the space's parameters: just asked for, enqueued, or of another space."""
        if any(parameter.name not in trial.params for parameter in self._space.parameters):
            return None
        return self._space.decode(trial.params)

    def _observation(self, trial: FrozenTrial, architecture: Architecture) -> Observation:
        curve = {int(step): float(value) for step, value in trial.intermediate_values.items()}
        if trial.state is OptunaState.COMPLETE:
            final = float(trial.values[self._objective])
            return Observation(trial.number, architecture, Standing.COMPLETE, curve, final)
        return Observation(trial.number, architecture, _standing(trial), curve)


def _standing(trial: FrozenTrial) -> Standing:
    if not trial.state.is_finished():
        return Standing.RUNNING
    if trial.state is not OptunaState.PRUNED:
        return Standing.SILENT
    return Standing.UNFIT if any(value > 0 for value in trial.constraints.values()) else Standing.STOPPED
