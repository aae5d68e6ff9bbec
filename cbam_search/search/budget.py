"""When a study starts no more trainings, whatever `search.trials` leaves: hours, epochs, or a hypervolume that stands still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cbam_search.records.events import (
    EpochFinished,
    Event,
    FrontUpdated,
    StudyClosed,
    StudyOpened,
    TrialFinished,
)
from cbam_search.search.config import HypervolumeStop, StopConfig


@dataclass(frozen=True)
class Spent:
    """What a study took so far.

    seconds: of wall-clock, while a driver was in charge. epochs: trained, each trial's once, however often a crash had it
    trained again. hypervolumes: after each training that ended; None while an axis has no end.
    """

    seconds: float
    epochs: int
    hypervolumes: Sequence[float | None]


@dataclass(frozen=True)
class Ended:
    """Which budget is used up; the reason is that of `StudyClosed`."""

    reason: Literal["hours", "epochs", "hypervolume"]
    message: str


def budget_ended(config: StopConfig, spent: Spent) -> Ended | None:
    """The first budget that is used up, if any."""
    if config.hours is not None and spent.seconds >= 3600.0 * config.hours:
        return Ended("hours", f"search.stop.hours, {config.hours:g}, are over")
    if config.epochs is not None and spent.epochs >= config.epochs:
        return Ended("epochs", f"{spent.epochs:,} epochs are trained, and search.stop.epochs is {config.epochs:,}")
    rule = config.hypervolume
    if rule is not None and _stands_still(spent.hypervolumes, rule.improves_less_than, rule.over_trials):
        return _stood_still(rule)
    return None


def _stood_still(rule: HypervolumeStop) -> Ended:
    share = f"{100 * rule.improves_less_than:g} %"
    return Ended("hypervolume", f"the hypervolume improved by less than {share} over {rule.over_trials} trainings")


def _stands_still(hypervolumes: Sequence[float | None], less_than: float, over_trials: int) -> bool:
    """Whether the last is less than that share above the one so many trainings before; 0 after 0 stands still too."""
    if len(hypervolumes) <= over_trials:
        return False
    before, now = hypervolumes[-1 - over_trials], hypervolumes[-1]
    return before is not None and now is not None and (now < before * (1.0 + less_than) or now == before)


class Budgets:
    """Follows a study's events, those recorded before a resume first, and knows when a budget is used up."""

    def __init__(self, config: StopConfig, recorded: Iterable[Event], clock: Callable[[], float] = time.time) -> None:
        """clock: seconds since the epoch, as events carry them."""
        self._config = config
        self._clock = clock
        self._closed_sessions_seconds = 0.0
        self._opened_seconds: float | None = None
        self._last_event_seconds = 0.0
        self._epochs: dict[int, int] = {}
        self._total_epochs = 0
        self._ended_trials: set[int] = set()
        self._hypervolumes: list[float | None] = []
        self._stood_still: Ended | None = None
        for event in recorded:
            self.take(event)

    def take(self, event: Event) -> None:
        """One more event; one that comes twice after a crash counts once."""
        match event:
            case StudyOpened():
                # A driver that was killed closed nothing: its session ended with its last event.
                self._end_session(self._last_event_seconds)
                self._opened_seconds = event.time_seconds
            case EpochFinished() if not event.replayed and event.epoch > self._epochs.get(event.trial, 0):
                self._total_epochs += event.epoch - self._epochs.get(event.trial, 0)
                self._epochs[event.trial] = event.epoch
            case TrialFinished():
                self._ended_trials.add(event.trial)
            case FrontUpdated():
                del self._hypervolumes[max(0, len(self._ended_trials) - 1) :]
                self._hypervolumes.append(event.hypervolume)
            case StudyClosed():
                self._end_session(event.time_seconds)
                if event.reason == "hypervolume" and (rule := self._config.hypervolume) is not None:
                    # Trainings that were under way may have improved it since; the study has ended all the same. The event's
                    # own message counts trainings too, which the next closing counts anew.
                    self._stood_still = _stood_still(rule)
        self._last_event_seconds = event.time_seconds

    @property
    def spent(self) -> Spent:
        open_seconds = 0.0 if self._opened_seconds is None else max(0.0, self._clock() - self._opened_seconds)
        return Spent(self._closed_sessions_seconds + open_seconds, self._total_epochs, self._hypervolumes)

    def ended(self) -> Ended | None:
        """The budget that is used up now, if any."""
        return self._stood_still or budget_ended(self._config, self.spent)

    def _end_session(self, time_seconds: float) -> None:
        if self._opened_seconds is not None:
            self._closed_sessions_seconds += max(0.0, time_seconds - self._opened_seconds)
            self._opened_seconds = None
