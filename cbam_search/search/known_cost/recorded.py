"""What a study's records hold of accuracies: outcomes from its trials, and every epoch from its ledger, of stopped trials
too.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

import optuna

from cbam_search.records.events import EpochFinished, Event, TrialStarted
from cbam_search.records.ledger import read_events
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import Trial, TrialState
from cbam_search.search.known_cost.observations import Observation, Standing

STANDINGS = {
    TrialState.RUNNING: Standing.RUNNING,
    TrialState.COMPLETE: Standing.COMPLETE,
    TrialState.STOPPED: Standing.STOPPED,
    TrialState.DIVERGED: Standing.UNFIT,
    TrialState.INFEASIBLE: Standing.UNFIT,
    TrialState.FAILED: Standing.SILENT,
}
"""Of trials that were trained; duplicates and proposals beyond a bound never are."""


class RecordedObservations:
    """Observations of one measured objective, for one who asks, and whose settled trials stay settled. The same for a resumed
    study: epochs of earlier drivers are read from the ledger.
    """

    def __init__(self, records: StudyRecords, objective: str) -> None:
        self._records = records
        self._objective = objective
        self._curves: dict[int, dict[int, float]] = {}
        self._unsettled = {number for number, trial in records.trials.items() if trial.was_trained}
        for event, _ in read_events(records.folder.ledger):
            if isinstance(event, EpochFinished):
                self._note(event)
        records.ledger.subscribe(self._note)

    def _note(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self._unsettled.add(event.trial)
        elif isinstance(event, EpochFinished) and self._objective in event.metrics:
            self._curves.setdefault(event.trial, {})[event.epoch] = event.metrics[self._objective]

    def unsettled(self, study: optuna.Study, settled: Container[int]) -> Iterator[Observation]:  # noqa: ARG002
        self._unsettled = {number for number in self._unsettled if number not in settled}
        for number in sorted(self._unsettled):
            yield self._observation(self._records.trials[number])

    def _observation(self, trial: Trial) -> Observation:
        standing = STANDINGS[trial.state]
        # Of a trial that ended, whoever asked holds the curve from now on.
        taken = self._curves.get if standing is Standing.RUNNING else self._curves.pop
        curve = dict(taken(trial.number, {}))
        outcome = trial.outcome
        if outcome is not None and outcome.epochs > 0 and self._objective in outcome.metrics:
            curve.setdefault(outcome.epochs, outcome.metrics[self._objective])
        final = trial.values[self._objective] if trial.values else None
        return Observation(trial.number, trial.candidate.architecture, standing, curve, final)
