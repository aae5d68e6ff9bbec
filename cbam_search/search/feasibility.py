"""Constraints: on what is known when a candidate is proposed, and on what its trial measures before it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cbam_search.records.trials import Outcome


class Costed(Protocol):
    """A `Cost`, or a `Candidate`, which carries its own."""

    @property
    def gflops(self) -> float: ...

    @property
    def params(self) -> int: ...


def known_values(cost: Costed) -> dict[str, float]:
    """The objectives that need no training, by name."""
    return {"gflops": cost.gflops, "params": float(cost.params)}


def excess(cost: Costed, bounds: Mapping[str, float]) -> float:
    """By what share the worst bound is exceeded; 0.0 when all are kept."""
    values = known_values(cost)
    return max((max(0.0, values[name] / bound - 1.0) for name, bound in bounds.items()), default=0.0)


def excess_of(metrics: Mapping[str, float], bounds: Mapping[str, float]) -> float:
    """The same of what a trial measured; 0.0 too where it measured nothing of the kind."""
    return max((max(0.0, metrics[name] / bound - 1.0) for name, bound in bounds.items() if name in metrics), default=0.0)


def measured_excess(outcome: Outcome, bounds: Mapping[str, float]) -> float:
    """The same of a trial that ended."""
    return excess_of(outcome.metrics, bounds)
