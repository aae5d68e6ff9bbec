"""How a study stands, folded from its events: what displays show while it runs."""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cbam_search.records.events import EpochFinished, Event, FrontUpdated, TrialFinished, TrialSkipped, TrialStarted
from cbam_search.records.front import front_of
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import Trial, TrialState

_REMEMBERED_EPOCHS = 1000
_OUTLIER = 3.0
"""An epoch this many times slower than the median, such as the first on a cold device, counts as this much only."""


@dataclass(frozen=True)
class Training:
    """A trial in training, the last epoch that it finished (0 before the first), and the accuracy then."""

    trial: Trial
    epoch: int = 0
    accuracy: float | None = None


class Tally:
    """Counts, running trainings, front and pace. Not thread-safe."""

    def __init__(self, manifest: StudyManifest, trials: Iterable[Trial]) -> None:
        """trials: those already recorded, when a study is resumed; its unfinished ones wait until they start again."""
        trials = list(trials)
        front = front_of(trials, manifest.objectives)
        self.manifest = manifest
        self.trials: dict[int, Trial] = {}
        self._states: Counter[TrialState] = Counter()
        self._ended_epochs = 0
        for trial in trials:
            if trial.was_trained:
                self._put(trial)
        self.skipped = Counter(trial.state for trial in trials if not trial.was_trained)
        self.running: dict[int, Training] = {}
        self.front = front.numbers
        self.hypervolume = front.hypervolume
        self._epoch_seconds: deque[float] = deque(maxlen=_REMEMBERED_EPOCHS)
        self._last_event_seconds = 0.0

    def take(self, event: Event) -> None:
        """Count one more event."""
        self._last_event_seconds = event.time_seconds
        match event:
            case TrialStarted():
                trial = Trial(event.trial, event.candidate, attempts=event.attempt)
                self._put(trial)
                self.running[event.trial] = Training(trial, self._epoch_before(event.trial))
            case TrialSkipped():
                self.skipped[event.outcome.state] += 1
            case EpochFinished():
                if not event.replayed:
                    self._epoch_seconds.append(event.seconds)
                if event.trial in self.running:
                    training = self.running[event.trial]
                    self.running[event.trial] = replace(training, epoch=event.epoch, accuracy=event.metrics.get("accuracy"))
            case TrialFinished():
                self.running.pop(event.trial, None)
                self._put(replace(self.trials[event.trial], outcome=event.outcome))
            case FrontUpdated():
                self.front = event.front
                self.hypervolume = event.hypervolume

    @property
    def states(self) -> Counter[TrialState]:
        """How many trainings ended in each state."""
        return +self._states

    @property
    def finished(self) -> int:
        """Trainings that ended, in whatever state."""
        return self._states.total()

    @property
    def share_done(self) -> float:
        """Share of the trainings that is behind us, parts of running ones included, in [0, 1]."""
        parts = sum(training.epoch / self.manifest.epochs for training in self.running.values())
        return min(1.0, (self.finished + parts) / self.manifest.trials)

    def seconds_left(self, now_seconds: float, concurrent: int) -> float | None:
        """Estimate from the epochs still to train, `concurrent` at a time; None until enough epochs were timed.

        Of trainings not yet begun, as many epochs are expected as past ones took: fewer than all where some stopped early.
        """
        if len(self._epoch_seconds) < concurrent + 2:
            return None
        expected = self._ended_epochs / self.finished if self.finished else float(self.manifest.epochs)
        waiting = max(0, self.manifest.trials - self.finished - len(self.running))
        left = [max(0, self.manifest.epochs - training.epoch) for training in self.running.values()]
        longest = max([*left, expected if waiting else 0.0])
        epochs = max((sum(left) + waiting * expected) / concurrent, longest)
        return max(0.0, epochs * self._seconds_per_epoch() - max(0.0, now_seconds - self._last_event_seconds))

    def _put(self, trial: Trial) -> None:
        """In place of what was known of it; counted here, since displays ask at every trial of thousands."""
        before = self.trials.get(trial.number)
        for outcome, count in ((before.outcome if before else None, -1), (trial.outcome, 1)):
            if outcome is not None:
                self._states[outcome.state] += count
                self._ended_epochs += count * outcome.epochs
        self.trials[trial.number] = trial

    def _seconds_per_epoch(self) -> float:
        limit = _OUTLIER * statistics.median(self._epoch_seconds)
        return statistics.fmean(min(seconds, limit) for seconds in self._epoch_seconds)

    def _epoch_before(self, number: int) -> int:
        """Where a training that lost its worker stood: it goes on from its checkpoint, at or a little before that."""
        return self.running[number].epoch if number in self.running else 0
