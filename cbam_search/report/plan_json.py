"""A plan for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cbam_search.report.plan_warnings import plan_warnings
from cbam_search.search.plan import QUANTILES, Plan, TimeEstimate
from cbam_search.search.space_costs import AXES, BackboneCosts


def plan_json(plan: Plan) -> dict[str, Any]:
    """`distinct_architectures` is a whole number of any size. `costs`: by axis, `min` and `max` exact, `quantiles` by share and
    by how much they may be `off_by`. `left`: the least and the most that the share within the constraints can be.
    """
    return {
        "study": plan.name,
        "distinct_architectures": plan.costs.count,
        "parameters": plan.parameters,
        "data": asdict(plan.data),
        "objectives": plan.objectives,
        "constraints": plan.bounds,
        "latency": plan.latency.model_dump(mode="json") | {"at_most": plan.latency_at_most} if plan.latency else None,
        "left": {"share": list(plan.left), "architectures": plan.architectures_left},
        "costs": {name: _costs(plan, name) for name in AXES},
        "backbones": [_backbone(entry, plan) for entry in plan.costs.backbones],
        "published": [
            {"label": design.label, "gflops": design.cost.gflops, "params": design.cost.params, "excluded": design.excluded}
            for design in plan.designs
        ],
        "trials": plan.trials,
        "epochs": plan.epochs,
        "scheduler": plan.scheduler.model_dump(mode="json") | {"expected_epochs": plan.expected_epochs},
        "stop": plan.stop.model_dump(mode="json"),
        "time": _time(plan.estimate) if plan.estimate else None,
        "untimed": plan.untimed,
        "warnings": list(plan_warnings(plan)),
    }


def _costs(plan: Plan, name: str) -> dict[str, Any]:
    low, high = plan.costs.range(name)
    values, off_by = plan.costs.quantiles(name, QUANTILES)
    quantiles = {str(share): value for share, value in zip(QUANTILES, values, strict=True)}
    return {"min": low, "max": high, "quantiles": quantiles, "off_by": off_by}


def _backbone(entry: BackboneCosts, plan: Plan) -> dict[str, Any]:
    ranges = {name: list(entry.range(name)) for name in AXES}
    return {
        "name": entry.backbone.name,
        "distinct_architectures": entry.count,
        **ranges,
        "left": list(entry.share_within(plan.bounds)),
    }


def _time(estimate: TimeEstimate) -> dict[str, Any]:
    return {
        "hours": estimate.hours(),
        "hours_at_worst": estimate.hours_at_worst,
        "hours_if_all_cheapest": estimate.hours(estimate.networks[0].epoch_seconds),
        "hours_if_all_costliest": estimate.hours(estimate.networks[-1].epoch_seconds),
        **asdict(estimate),
    }
