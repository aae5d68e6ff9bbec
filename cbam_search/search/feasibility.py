"""Constraints on what is known before training."""

from __future__ import annotations

from collections.abc import Mapping

from cbam_search.cost.cost import Cost


def known_values(cost: Cost) -> dict[str, float]:
    """The objectives that need no training, by name."""
    return {"gflops": cost.gflops, "params": float(cost.params)}


def excess(cost: Cost, bounds: Mapping[str, float]) -> float:
    """By what share the worst bound is exceeded; 0.0 when all are kept."""
    values = known_values(cost)
    return max((max(0.0, values[name] / bound - 1.0) for name, bound in bounds.items()), default=0.0)
