"""What a model may learn from: every trial's training, with its accuracy by epoch, and how it ended."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from cbam_search.architecture import Architecture
from cbam_search.metrics import Measured
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.events import Event, TrialStarted
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.space.space import Space
from cbam_search.training.epoch import Epoch

UNFIT = frozenset({TrialState.DIVERGED, TrialState.INFEASIBLE})
"""How a training ends whose architecture could not be trained."""
TELLS_NOTHING = frozenset({TrialState.FAILED, TrialState.DUPLICATE})
"""How one ends that says nothing of its architecture."""


class Observations(Protocol):
    """Where trainings come from; each has the number of its trial."""

    def unsettled(self, study: optuna.Study, settled: Container[int]) -> Iterator[Evaluation]:
        """The training of every trial with an architecture whose number is not in `settled`, in the order of numbers."""


class RecordedObservations:
    """From a study's records, for one who asks, and whose settled trials stay settled. Epochs of earlier drivers, stopped
    trials and published designs outside the space are among them.
    """

    def __init__(self, records: StudyRecords) -> None:
        self._records = records
        self._unsettled = {number for number, trial in records.trials.items() if trial.was_trained}
        records.subscribe(self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self._unsettled.add(event.trial)

    def unsettled(self, study: optuna.Study, settled: Container[int]) -> Iterator[Evaluation]:  # noqa: ARG002
        self._unsettled = {number for number in self._unsettled if number not in settled}
        for number in sorted(self._unsettled):
            yield self._records.view.evaluation(number)


class StoredObservations:
    """From Optuna's storage alone: parameters, values, intermediate values by epoch, and constraints of pruned trials.

    place: of the trained objective among the study's; name: its own.
    """

    def __init__(self, space: Space, place: int, name: str) -> None:
        self._space = space
        self._place = place
        self._name = name

    def unsettled(self, study: optuna.Study, settled: Container[int]) -> Iterator[Evaluation]:
        for trial in study.get_trials(deepcopy=False):
            if trial.number not in settled and (architecture := self._architecture(trial)) is not None:
                yield self._evaluation(trial, architecture)

    def _architecture(self, trial: FrozenTrial) -> Architecture | None:
        """None for a trial that lacks some of the space's parameters: just asked for, enqueued, or of another space."""
        if any(parameter.name not in trial.params for parameter in self._space.parameters):
            return None
        return self._space.decode(trial.params)

    def _evaluation(self, trial: FrozenTrial, architecture: Architecture) -> Evaluation:
        values = sorted(trial.intermediate_values.items())
        epochs = tuple(Epoch(int(step), {self._name: float(value)}, 0.0) for step, value in values)
        return Evaluation(
            architecture=architecture, seed=0, trial=trial.number, epochs=epochs, outcome=self._outcome(trial, len(epochs))
        )

    def _outcome(self, trial: FrozenTrial, epochs: int) -> Outcome | None:
        if not trial.state.is_finished():
            return None
        if trial.state is OptunaState.COMPLETE:
            last = Measured(value=float(trial.values[self._place]))
            return Outcome(state=TrialState.COMPLETE, metrics={self._name: last}, epochs=epochs)
        if trial.state is not OptunaState.PRUNED:
            return Outcome(state=TrialState.FAILED)
        unfit = any(value > 0 for value in trial.constraints.values())
        return Outcome(state=TrialState.DIVERGED if unfit else TrialState.STOPPED)
