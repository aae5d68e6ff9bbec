"""The Pareto front of a study: complete trials alone, published designs among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cbam_search import pareto
from cbam_search.cost.config import LATENCY, LATENCY_SPREAD
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Trial, TrialState


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


def point(trial: Trial, objectives: Sequence[ObjectiveAxis]) -> tuple[float, ...]:
    """A complete trial's values in the order of the objectives."""
    assert trial.values is not None
    return tuple(trial.values[objective.name] for objective in objectives)


def front_of(trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis]) -> Front:
    """Front, ranks and hypervolume of the complete trials among `trials`.

    Latencies that differ by no more than the larger of their spreads count as equal.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    points = [point(trial, objectives) for trial in complete]
    tolerances = [_tolerance(trial, objectives) for trial in complete]
    ranks = pareto.ranks(points, [objective.maximise for objective in objectives], tolerances)
    axes = [axis for objective in objectives if (axis := objective.axis()) is not None]
    members = [trial for trial, rank in zip(complete, ranks, strict=True) if rank == 0]
    last = len(objectives) - 1
    members.sort(key=lambda trial: (point(trial, objectives)[last], trial.number))
    return Front(
        members=tuple(members),
        ranks={trial.number: int(rank) for trial, rank in zip(complete, ranks, strict=True)},
        hypervolume=pareto.hypervolume(points, axes) if len(axes) == len(objectives) else None,
    )


def _tolerance(trial: Trial, objectives: Sequence[ObjectiveAxis]) -> tuple[float, ...]:
    """How exact each value is: latencies to their spread, everything else exactly."""
    spread = trial.outcome.metrics.get(LATENCY_SPREAD, 0.0) if trial.outcome else 0.0
    return tuple(spread if objective.name == LATENCY else 0.0 for objective in objectives)
