"""The epochs of all trials, and what was measured of their architectures before: the part of the fold that curves come from."""

from __future__ import annotations

from collections import Counter, deque

from cbam_search.metrics import Measured
from cbam_search.records.events import EpochFinished
from cbam_search.training.epoch import Epoch

REMEMBERED_EPOCHS = 1000
"""Whose seconds are kept, the newest ones: they say how fast the study goes."""


class Curves:
    """Of each trial's own training, by number.

    epochs_trained: each trial's once, however often a crash had it trained again; replayed ones do not count.
    arrivals: by epoch, the trials in the order in which they first finished it.
    epoch_seconds: of the newest epochs.
    """

    def __init__(self) -> None:
        self.epochs_trained = 0
        self.arrivals: dict[int, list[int]] = {}
        self.epoch_seconds: deque[float] = deque(maxlen=REMEMBERED_EPOCHS)
        self._curves: dict[int, list[Epoch]] = {}
        self._epochs_counted: Counter[int] = Counter()
        """By trial, its part of `epochs_trained`."""
        self._measured: dict[int, dict[str, Measured]] = {}

    def add_epoch(self, event: EpochFinished) -> bool:
        """One more epoch; False when it repeats what was known."""
        curve = self._curves.setdefault(event.trial, [])
        first_time = not curve or event.epoch > curve[-1].epoch
        if measured := event.measured_metrics:
            self._measured[event.trial] = measured
        epoch = Epoch(event.epoch, event.trained_metrics, event.seconds)
        if first_time:
            if not event.replayed:
                self.epoch_seconds.append(event.seconds)
                more = event.epoch - (curve[-1].epoch if curve else 0)
                self.epochs_trained += more
                self._epochs_counted[event.trial] += more
            curve.append(epoch)
            self.arrivals.setdefault(event.epoch, []).append(event.trial)
            return True
        for place, known in enumerate(curve):
            if known.epoch == event.epoch:
                curve[place] = epoch
                return known.metrics != epoch.metrics
        return True

    def add_measured(self, number: int, metrics: dict[str, Measured]) -> bool:
        """What was measured before a training; False when it repeats what was known."""
        known = self._measured.get(number)
        self._measured[number] = metrics
        return known != metrics

    def forget_epochs(self, number: int) -> None:
        """As if the trial had not trained yet."""
        for epoch in self._curves.pop(number, ()):
            self.arrivals[epoch.epoch].remove(number)
        self.epochs_trained -= self._epochs_counted.pop(number, 0)

    def forget_measured(self, number: int) -> None:
        """As if nothing had been measured."""
        self._measured.pop(number, None)

    def epochs(self, number: int) -> tuple[Epoch, ...]:
        """Of a trial's own training, in order, as far as they are recorded."""
        return tuple(self._curves.get(number, ()))

    def last_epoch(self, number: int) -> Epoch | None:
        """The last one recorded; None before the first."""
        curve = self._curves.get(number)
        return curve[-1] if curve else None

    def epochs_recorded(self, number: int) -> int:
        """How far a trial's training is recorded; 0 before its first epoch."""
        last = self.last_epoch(number)
        return last.epoch if last else 0

    def epoch_of(self, number: int, epoch: int) -> Epoch | None:
        """This very epoch of a trial's own training, if it is recorded."""
        return next((known for known in self._curves.get(number, ()) if known.epoch == epoch), None)

    def measured(self, number: int) -> dict[str, Measured]:
        """What was measured of a trial's architecture before it was trained."""
        return self._measured.get(number, {})
