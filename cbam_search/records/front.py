"""The Pareto front of a study: complete trials alone, published designs among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cbam_search import pareto
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Trial, TrialState


@dataclass(frozen=True)
class Front:
    """members: rank 0, sorted from the cheap to the costly end; ranks: of every complete trial, by number."""

    members: tuple[Trial, ...]
    ranks: dict[int, int]
    hypervolume: float

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(trial.number for trial in self.members)


def point(trial: Trial, objectives: Sequence[ObjectiveAxis]) -> tuple[float, ...]:
    """A complete trial's values in the order of the objectives."""
    assert trial.values is not None
    return tuple(trial.values[objective.name] for objective in objectives)


def front_of(trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis]) -> Front:
    """Front, ranks and hypervolume of the complete trials among `trials`."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    points = [point(trial, objectives) for trial in complete]
    ranks = pareto.ranks(points, [objective.maximise for objective in objectives])
    members = [trial for trial, rank in zip(complete, ranks, strict=True) if rank == 0]
    last = len(objectives) - 1
    members.sort(key=lambda trial: (point(trial, objectives)[last], trial.number))
    return Front(
        members=tuple(members),
        ranks={trial.number: int(rank) for trial, rank in zip(complete, ranks, strict=True)},
        hypervolume=pareto.hypervolume(points, [objective.axis() for objective in objectives]),
    )
