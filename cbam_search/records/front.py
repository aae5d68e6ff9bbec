"""The Pareto front of a study: complete trials alone, published designs among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cbam_search import pareto
from cbam_search.metrics import tolerance
from cbam_search.pareto_growing import GrowingFront
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Trial, TrialState

Point = tuple[float, ...]


@dataclass(frozen=True)
class Front:
    """members: rank 0, sorted from the cheap to the costly end; ranks: of every complete trial, by number.

    hypervolume: None while the reference of an objective is not fixed. Ties do not enter into it.
    """

    members: tuple[Trial, ...]
    ranks: dict[int, int]
    hypervolume: float | None

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(trial.number for trial in self.members)


def point(trial: Trial, objectives: Sequence[ObjectiveAxis]) -> Point:
    """A complete trial's values in the order of the objectives."""
    assert trial.values is not None
    return tuple(trial.values[objective.name] for objective in objectives)


def front_of(trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis]) -> Front:
    """Front, ranks and hypervolume of the complete trials among `trials`.

    Values of a metric with ties that differ by no more than the larger of their errors count as equal.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    points = [point(trial, objectives) for trial in complete]
    tolerances = [_tolerance(trial, objectives) for trial in complete]
    maximise = [objective.maximise for objective in objectives]
    ranks = pareto.ranks(points, maximise, tolerances)
    exact = pareto.ranks(points, maximise) if any(map(any, tolerances)) else ranks
    return Front(
        members=_sorted((trial for trial, rank in zip(complete, ranks, strict=True) if rank == 0), objectives),
        ranks={trial.number: int(rank) for trial, rank in zip(complete, ranks, strict=True)},
        hypervolume=_hypervolume((entry for entry, rank in zip(points, exact, strict=True) if rank == 0), objectives),
    )


class StudyFront:
    """The front of a study that goes on: at any time what `front_of` says of the trials so far, each compared once.

    numbers, members and hypervolume are as in `Front`; complete: how many trials are.
    """

    def __init__(self, trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis]) -> None:
        maximise = [objective.maximise for objective in objectives]
        self._objectives = tuple(objectives)
        self._front, self._exact = GrowingFront(maximise), GrowingFront(maximise)
        self._complete: list[Trial] = []
        self.members: tuple[Trial, ...] = ()
        self.hypervolume: float | None = None
        for trial in trials:
            self._add(trial)
        self._update()

    def add(self, trial: Trial, objectives: Sequence[ObjectiveAxis]) -> bool:
        """Take in a trial that ended, by objectives whose references may have been fixed since; returns whether the front has
        other members now.
        """
        fixed, self._objectives = self._objectives != tuple(objectives), tuple(objectives)
        before = self.numbers
        if self._add(trial) or fixed:
            self._update()
        return self.numbers != before

    @property
    def complete(self) -> int:
        return len(self._complete)

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(trial.number for trial in self.members)

    @property
    def ranks(self) -> dict[int, int]:
        """Of every complete trial, by number; worked out anew each time."""
        return front_of(self._complete, self._objectives).ranks

    def _add(self, trial: Trial) -> bool:
        """Take in a complete trial; returns whether the front may have changed."""
        if trial.state is not TrialState.COMPLETE:
            return False
        self._complete.append(trial)
        values = point(trial, self._objectives)
        changed = self._front.add(values, _tolerance(trial, self._objectives))
        return self._exact.add(values) or changed

    def _update(self) -> None:
        self.members = _sorted((self._complete[index] for index in self._front.members), self._objectives)
        points = (point(self._complete[index], self._objectives) for index in self._exact.members)
        self.hypervolume = _hypervolume(points, self._objectives)


def _sorted(members: Iterable[Trial], objectives: Sequence[ObjectiveAxis]) -> tuple[Trial, ...]:
    last = len(objectives) - 1
    return tuple(sorted(members, key=lambda trial: (point(trial, objectives)[last], trial.number)))


def _hypervolume(front: Iterable[Point], objectives: Sequence[ObjectiveAxis]) -> float | None:
    """Of exact points that nobody dominates, in one order: sums of the same figures differ by rounding in another."""
    axes = [axis for objective in objectives if (axis := objective.axis()) is not None]
    return pareto.hypervolume(sorted(set(front)), axes) if len(axes) == len(objectives) else None


def _tolerance(trial: Trial, objectives: Sequence[ObjectiveAxis]) -> Point:
    """How exact each value is: to its error where the metric has ties, as latencies have, else exactly."""
    measured = trial.outcome.metrics if trial.outcome else {}
    return tuple(tolerance(objective.name, measured) for objective in objectives)
