"""How far a study is and how fast it goes: what displays show beside what the view of its records tells."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import Trial
from cbam_search.records.view import StudyView

_OUTLIER = 3.0
"""An epoch this many times slower than the median, such as the first on a cold device, counts as this much only."""


@dataclass(frozen=True)
class RunningTraining:
    """A trial in training, the last epoch that is recorded of it (0 before the first), and the accuracy then."""

    trial: Trial
    epoch: int = 0
    accuracy: float | None = None


class Tally:
    """Running trainings, share done and pace. Whoever reads it from another thread holds `view.lock` meanwhile."""

    def __init__(self, manifest: StudyManifest, view: StudyView) -> None:
        self.manifest = manifest
        self.view = view

    @property
    def running(self) -> dict[int, RunningTraining]:
        """Trainings that this session has started, by number, in order."""
        found = {}
        for number in sorted(self.view.running):
            last = self.view.last_epoch(number)
            accuracy = last.metrics.get("accuracy") if last else None
            found[number] = RunningTraining(self.view.trials[number], last.epoch if last else 0, accuracy)
        return found

    @property
    def share_done(self) -> float:
        """Share of the trainings that is behind us, parts of running ones included, in [0, 1]."""
        parts = sum(training.epoch / self.manifest.epochs for training in self.running.values())
        return min(1.0, (self.view.finished + parts) / self.manifest.trials_allowed)

    def seconds_left(self, now_seconds: float, concurrent: int) -> float | None:
        """Estimate from the epochs still to train, `concurrent` at a time; None until enough epochs were timed.

        Of trainings not yet begun, as many epochs are expected as past ones took: fewer than all where some stopped early.
        """
        view, running = self.view, self.running
        if len(view.epoch_seconds) < concurrent + 2:
            return None
        expected = view.ended_epochs / view.finished if view.finished else float(self.manifest.epochs)
        waiting = max(0, self.manifest.trials_allowed - view.finished - len(running))
        left = [max(0, self.manifest.epochs - training.epoch) for training in running.values()]
        longest = max([*left, expected if waiting else 0.0])
        epochs = max((sum(left) + waiting * expected) / concurrent, longest)
        return max(0.0, epochs * self._seconds_per_epoch() - max(0.0, now_seconds - view.time.last_event_seconds))

    def _seconds_per_epoch(self) -> float:
        seconds_of = self.view.epoch_seconds
        limit = _OUTLIER * statistics.median(seconds_of)
        return statistics.fmean(min(seconds, limit) for seconds in seconds_of)
