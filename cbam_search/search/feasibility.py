"""Constraints: on what is known when a candidate is proposed, and on what its trial measures before it trains."""

from __future__ import annotations

from collections.abc import Mapping

from cbam_search.metrics import Costed, Measured, known_values


def excess(cost: Costed, bounds: Mapping[str, float]) -> float:
    """By what share the worst bound is exceeded; 0.0 when all are kept."""
    values = known_values(cost)
    return max((max(0.0, values[name] / bound - 1.0) for name, bound in bounds.items()), default=0.0)


def measured_excess(metrics: Mapping[str, Measured], bounds: Mapping[str, float]) -> float:
    """By what share the worst bound on a measured metric is exceeded; 0.0 when all are kept, or where none was measured."""
    return max((max(0.0, metrics[name].value / bound - 1.0) for name, bound in bounds.items() if name in metrics), default=0.0)
