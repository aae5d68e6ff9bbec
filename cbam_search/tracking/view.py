"""A study as its ledger tells it: a fold of events, the same however often and from wherever it is repeated."""

from __future__ import annotations

from collections import Counter, defaultdict
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
        self._epochs: dict[int, dict[int, int]] = defaultdict(dict)
        """By trial and epoch, a hash of its metrics: themselves they would be most of what a long study holds in memory."""
        self._counts: Counter[tuple[TrialState, bool]] = Counter()
        """Trials by state, and whether they were trained."""
        self.replayed = 0
        """Trainings that were taken from the evaluation cache."""

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
                first = event.trial not in self.trials
                self._put(Trial(event.trial, event.candidate, event.outcome, attempts=0))
                return first
            case EpochFinished():
                known = self._epochs[event.trial].get(event.epoch)
                metrics = hash(frozenset(event.metrics.items()))
                self._epochs[event.trial][event.epoch] = metrics
                return known != metrics
            case TrialFinished():
                trial = self.trials[event.trial]
                self._put(replace(trial, outcome=event.outcome))
                return trial.outcome != event.outcome
            case FrontUpdated():
                self.hypervolume = event.hypervolume
                return True

    @property
    def finished(self) -> int:
        """Trainings that ended, in whatever state: the step of every figure that is followed over time."""
        return sum(count for (state, trained), count in self._counts.items() if trained and state is not TrialState.RUNNING)

    def count(self, state: TrialState, *, trained: bool) -> int:
        """Trials in `state`: trainings, or else proposals that needed none."""
        return self._counts[state, trained]

    def unfinished(self) -> list[int]:
        """Numbers of the trials that have no outcome."""
        return [trial.number for trial in self.trials.values() if trial.outcome is None]

    def _start(self, event: TrialStarted) -> bool:
        known = self.trials.get(event.trial)
        self._put(Trial(event.trial, event.candidate, attempts=event.attempt))
        return known is None or known.attempts != event.attempt

    def _put(self, trial: Trial) -> None:
        """In place of what was known of it; counted here, since every event of thousands asks."""
        before = self.trials.get(trial.number)
        if before is not None:
            self._counts[before.state, before.was_trained] -= 1
            self.replayed -= before.replayed_from is not None
        self._counts[trial.state, trial.was_trained] += 1
        self.replayed += trial.replayed_from is not None
        self.trials[trial.number] = trial
