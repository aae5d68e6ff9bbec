"""A study as its ledger tells it: a fold of events, the same however often and from wherever it is repeated."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from cbam_search.records.events import (
    EpochFinished,
    Event,
    FrontUpdated,
    StudyClosed,
    StudyOpened,
    TrialFinished,
    TrialSkipped,
    TrialStarted,
)
from cbam_search.records.trials import Trial, TrialState


class StudyView:
    """Trials by number, the last hypervolume (None while undefined), and why the study closed (None while it is open)."""

    def __init__(self) -> None:
        self.trials: dict[int, Trial] = {}
        self.hypervolume: float | None = None
        self.closed: StudyClosed | None = None
        self._epochs: dict[int, dict[int, dict[str, float]]] = defaultdict(dict)

    def apply(self, event: Event) -> bool:
        """Take in one event; False when it repeats what was known, as events may after a crash."""
        match event:
            case StudyOpened():
                self.closed = None
                return True
            case StudyClosed():
                self.closed = event
                return True
            case TrialStarted():
                return self._start(event)
            case TrialSkipped():
                known = event.trial in self.trials
                self.trials[event.trial] = Trial(event.trial, event.candidate, event.outcome, attempts=0)
                return not known
            case EpochFinished():
                known_metrics = self._epochs[event.trial].get(event.epoch)
                self._epochs[event.trial][event.epoch] = event.metrics
                return known_metrics != event.metrics
            case TrialFinished():
                trial = self.trials[event.trial]
                self.trials[event.trial] = replace(trial, outcome=event.outcome)
                return trial.outcome != event.outcome
            case FrontUpdated():
                self.hypervolume = event.hypervolume
                return True

    @property
    def finished(self) -> int:
        """Trainings that ended, in whatever state: the step of every figure that is followed over time."""
        return sum(trial.outcome is not None and trial.was_trained for trial in self.trials.values())

    @property
    def replayed(self) -> int:
        """Of these, how many were taken from the evaluation cache."""
        return sum(trial.replayed_from is not None for trial in self.trials.values())

    def count(self, state: TrialState, *, trained: bool) -> int:
        """Trials in `state`: trainings, or else proposals that needed none."""
        return sum(trial.state is state and trial.was_trained is trained for trial in self.trials.values())

    def unfinished(self) -> list[int]:
        """Numbers of the trials that have no outcome."""
        return [trial.number for trial in self.trials.values() if trial.outcome is None]

    def _start(self, event: TrialStarted) -> bool:
        known = self.trials.get(event.trial)
        self.trials[event.trial] = Trial(event.trial, event.candidate, attempts=event.attempt)
        return known is None or known.attempts != event.attempt
