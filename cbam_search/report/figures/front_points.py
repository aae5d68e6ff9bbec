"""What a figure of the front shows: one dot a trial, in the plane of the first two objectives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from cbam_search.metrics import known_values, metric
from cbam_search.records.front import Front, front_of
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Trial, TrialState

TRIAL_TITLE = "trial"
"""Of the x axis where there is one objective: trials are numbered, so that it is never logarithmic."""


class Group(StrEnum):
    """front: non-dominated; dominated: complete, not on the front; stopped: at its last epoch, never on the front."""

    FRONT = "front"
    DOMINATED = "dominated"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Dot:
    """A trial in the plane; x and y as shown (accuracies in per cent)."""

    trial: Trial
    x: float
    y: float
    group: Group
    published: bool
    rank: int | None

    @property
    def name(self) -> str:
        """What is written beside it: the published name, or the trial's number."""
        return self.trial.candidate.label if self.published else f"#{self.trial.number}"


@dataclass(frozen=True)
class Plane:
    """Dots, axis titles, and the line of best trade-offs: none for 3 or more objectives, where the plane is a projection."""

    dots: tuple[Dot, ...]
    x_title: str
    y_title: str
    line: tuple[tuple[float, float], ...]
    front: Front

    def of(self, group: Group) -> tuple[Dot, ...]:
        return tuple(dot for dot in self.dots if dot.group is group)


def plane_of(trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis]) -> Plane:
    """The second objective runs along x and the first along y; with one objective, x is the trial's number."""
    trials = list(trials)
    front = front_of(trials, objectives)
    dots = tuple(dot for trial in trials if (dot := _dot(trial, objectives, front)))
    single = len(objectives) == 1
    return Plane(
        dots=dots,
        x_title=TRIAL_TITLE if single else metric(objectives[1].name).title,
        y_title=metric(objectives[0].name).title,
        line=_best_so_far(dots, objectives[0]) if single else _staircase(dots, objectives),
        front=front,
    )


def value_of(trial: Trial, name: str) -> float | None:
    """An objective's recorded value; of a stopped trial, the metric of its last epoch or its known cost."""
    if trial.values and name in trial.values:
        return trial.values[name]
    last = trial.outcome.value(name) if trial.outcome and not trial.values else None
    return known_values(trial.candidate).get(name) if last is None else last


def _dot(trial: Trial, objectives: Sequence[ObjectiveAxis], front: Front) -> Dot | None:
    if trial.state not in (TrialState.COMPLETE, TrialState.STOPPED):
        return None
    shown = [
        None if (value := value_of(trial, objective.name)) is None else metric(objective.name).shown(value)
        for objective in objectives[:2]
    ]
    y, x = shown[0], (float(trial.number) if len(objectives) == 1 else shown[1])
    if x is None or y is None:
        return None
    rank = front.ranks.get(trial.number)
    group = Group.STOPPED if rank is None else Group.FRONT if rank == 0 else Group.DOMINATED
    return Dot(trial=trial, x=x, y=y, group=group, published=trial.is_published, rank=rank)


def _staircase(dots: Iterable[Dot], objectives: Sequence[ObjectiveAxis]) -> tuple[tuple[float, float], ...]:
    """Corners of the front's line: what is reached at each cost holds until the next member improves on it."""
    if len(objectives) != 2:
        return ()
    members = sorted({(dot.x, dot.y) for dot in dots if dot.group is Group.FRONT}, reverse=objectives[1].maximise)
    return _steps(members)


def _best_so_far(dots: Iterable[Dot], objective: ObjectiveAxis) -> tuple[tuple[float, float], ...]:
    best: list[tuple[float, float]] = []
    complete = sorted((dot.x, dot.y) for dot in dots if dot.group is not Group.STOPPED)
    for x, y in complete:
        if not best or (y > best[-1][1] if objective.maximise else y < best[-1][1]):
            best.append((x, y))
    if best and complete[-1][0] > best[-1][0]:
        best.append((complete[-1][0], best[-1][1]))
    return _steps(best)


def _steps(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    corners = list(points[:1])
    for (_, held), (x, y) in pairwise(points):
        corners += [(x, held), (x, y)]
    return tuple(corners)
