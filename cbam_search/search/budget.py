"""When a study starts no more trainings, whatever `search.trials` leaves: hours, epochs, or a hypervolume that stands still."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cbam_search.records.view import StudyView
from cbam_search.search.config import HypervolumeStop, StopConfig


@dataclass(frozen=True)
class Spent:
    """What a study took so far.

    seconds: of wall-clock, while a driver was in charge.
    epochs: trained; one that a crash had trained again counts once.
    hypervolumes: after each training that ended, since the study was last extended; None while an axis has no reference yet.
    """

    seconds: float
    epochs: int
    hypervolumes: Sequence[float | None]


@dataclass(frozen=True)
class Ended:
    """Which budget is used up. reason: as in `StudyClosed`. message: for people."""

    reason: Literal["hours", "epochs", "hypervolume"]
    message: str


def budget_ended(config: StopConfig, spent: Spent) -> Ended | None:
    """The first budget that is used up, if any."""
    if config.hours is not None and spent.seconds >= 3600.0 * config.hours:
        return Ended("hours", f"search.stop.hours, {config.hours:g}, are over")
    if config.epochs is not None and spent.epochs >= config.epochs:
        return Ended("epochs", f"{spent.epochs:,} epochs are trained, and search.stop.epochs is {config.epochs:,}")
    rule = config.hypervolume
    if rule is not None and _no_longer_improves(spent.hypervolumes, rule.improves_less_than, rule.over_trials):
        return _ended_by_hypervolume(rule)
    return None


def _ended_by_hypervolume(rule: HypervolumeStop) -> Ended:
    share = f"{100 * rule.improves_less_than:g} %"
    return Ended("hypervolume", f"the hypervolume improved by less than {share} over {rule.over_trials} trainings")


def _no_longer_improves(hypervolumes: Sequence[float | None], less_than: float, over_trials: int) -> bool:
    """Whether the last hypervolume exceeds that of `over_trials` trainings before by less than this share of it.

    0 after 0 is no improvement either.
    """
    if len(hypervolumes) <= over_trials:
        return False
    before, now = hypervolumes[-1 - over_trials], hypervolumes[-1]
    return before is not None and now is not None and (now < before * (1.0 + less_than) or now == before)


class Budgets:
    """Knows when a budget of a study is used up, from what its events come to."""

    def __init__(self, config: StopConfig, view: StudyView, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds since 1970, as events carry them."""
        self._config = config
        self._view = view
        self._clock = clock

    @property
    def spent(self) -> Spent:
        view = self._view
        return Spent(view.time.seconds(self._clock()), view.epochs_trained, view.hypervolumes)

    def ended(self) -> Ended | None:
        """The budget that is used up now, if any."""
        rule = self._config.hypervolume
        if rule is not None and self._view.stood_still:
            return _ended_by_hypervolume(rule)
        return budget_ended(self._config, self.spent)
