"""A plan as text: what the space holds, what it costs, how long the search would take, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterator

from cbam_search.counted import counted
from cbam_search.metrics import LATENCY, metric
from cbam_search.report.plan_warnings import plan_warnings
from cbam_search.report.wording import duration, large_number, table
from cbam_search.search.plan import QUANTILES, Plan, TimeEstimate
from cbam_search.search.space_costs import AXES

_BACKBONES_LISTED = 20


def plan_text(plan: Plan) -> str:
    """Plain lines of at most about 120 characters."""
    lines = [*_space(plan), "", *_data(plan), *_costs(plan), "", *_backbones(plan), "", *_designs(plan), "", *_time(plan)]
    warnings = plan_warnings(plan)
    if warnings:
        lines += ["", *(f"warning: {warning}" for warning in warnings)]
    return "\n".join(lines)


def share_text(least: float, most: float) -> str:
    """`12.3 %`, or an interval where it is not known exactly."""
    if most == 0.0 or least == 1.0:
        return "nothing" if most == 0.0 else "everything"
    low, high = _percent(least), _percent(most)
    return low if low == high else f"{low} to {high}"


def _space(plan: Plan) -> Iterator[str]:
    height, width = plan.data.image_size
    images = f"{height} x {width} pixels and {counted(plan.data.channels, 'channel')}"
    yield f"plan of study {plan.name}: images of {images} in {plan.data.classes:,} classes"
    yield f"  {large_number(plan.costs.count)} distinct architectures, exactly"
    yield f"  {counted(len(plan.costs.backbones), 'backbone')}, {counted(plan.parameters, 'parameter')} to choose"
    yield (
        f"  the constraints leave {_left(plan)}"
        if plan.bounds
        else "  no constraints" + (" on GFLOPs or parameters" if plan.latency_at_most else "")
    )
    yield from _latency(plan)


def _data(plan: Plan) -> Iterator[str]:
    """What was found in the images; nothing where they were not loaded."""
    if plan.data.notes:
        yield "Data"
        yield from (f"  {note}" for note in plan.data.notes)
        yield ""


def _latency(plan: Plan) -> Iterator[str]:
    """What is not known before trials have run."""
    if plan.latency is None:
        return
    latency = plan.latency
    yield (
        f"  latency_ms is not known before: each trial measures it before it trains, in batches of {latency.batch_size}, on a "
        f"device named '{latency.device}'"
    )
    if plan.latency_at_most is not None:
        yield f"  those above {metric(LATENCY).text(plan.latency_at_most)} are then not trained, and count as trials"


def _left(plan: Plan) -> str:
    bounds = " and ".join(f"{name} at most {metric(name).text(bound)}" for name, bound in plan.bounds.items())
    number = plan.architectures_left
    many = "" if number is None else f", {counted(number, 'architecture')}"
    return f"{share_text(*plan.left)}{many} ({bounds})"


def _costs(plan: Plan) -> Iterator[str]:
    heads = ["smallest", *(f"{100 * share:g} %" for share in QUANTILES), "largest"]
    rows = []
    inexact = []
    for name in AXES:
        low, high = plan.costs.range(name)
        values, off_by = plan.costs.quantiles(name, QUANTILES)
        rows.append([_title(name), *(metric(name).text(value) for value in (low, *values, high))])
        if off_by:
            inexact.append(f"{name} by at most {off_by:.2g}")
    yield "Costs, each distinct architecture counted once (smallest, quantiles, largest)"
    yield from table(["", *heads], rows)
    yield "1 GFLOP = 1e9 multiply-adds of convolutions and linear layers, one image."
    if inexact:
        yield f"Smallest and largest are exact; quantiles may be off: {', '.join(inexact)}."


def _backbones(plan: Plan) -> Iterator[str]:
    rows = [
        [
            entry.backbone.name,
            _percent(entry.count / plan.costs.count),
            *(_ends(name, *entry.range(name)) for name in AXES),
            *([share_text(*entry.share_within(plan.bounds))] if plan.bounds else []),
        ]
        for entry in plan.costs.backbones[:_BACKBONES_LISTED]
    ]
    yield from table(["backbone", "of the space", *map(_title, AXES), *(["left"] if plan.bounds else [])], rows)
    if len(plan.costs.backbones) > _BACKBONES_LISTED:
        yield f"and {len(plan.costs.backbones) - _BACKBONES_LISTED} more backbones"
    if len(plan.costs.backbones) > 1:
        yield "Samplers choose settings, not architectures: they propose small backbones far more often than these shares."


def _designs(plan: Plan) -> Iterator[str]:
    rows = [
        [
            design.label,
            metric("gflops").text(design.cost.gflops),
            metric("params").text(design.cost.params),
            "excluded" if design.excluded else "trained",
        ]
        for design in plan.designs
    ]
    if not rows:
        yield "no published designs are trained"
        return
    yield from table(["published design", *map(_title, AXES), ""], rows)


def _time(plan: Plan) -> Iterator[str]:
    trials = (
        f"{counted(plan.trials, 'trial')} of {counted(plan.epochs, 'epoch')}, {plan.trained_designs} of them published designs"
    )
    if plan.estimate is None:
        yield f"{trials}; not timed: {plan.untimed}"
        yield from _early_ends(plan)
        return
    estimate = plan.estimate
    yield f"{trials}: about {duration(3600 * estimate.hours())} of training, {estimate.concurrent} at a time"
    yield from _early_ends(plan)
    yield from _caveats(plan, estimate)
    rows = [
        [
            network.label,
            metric("gflops").text(network.gflops),
            _seconds(network.epoch_seconds),
            f"{network.images:,}",
            f"{network.batch_size:,}",
        ]
        for network in estimate.networks
    ]
    yield from table(["timed network", _title("gflops"), "seconds an epoch", "from images", "in batches of"], rows)
    yield f"Timed one by one, with {counted(estimate.threads, 'thread')}, on {estimate.hardware}."
    yield "Starting up, and trials that slow one another, come on top."


def _early_ends(plan: Plan) -> Iterator[str]:
    """What makes a search end before all its trials are trained to the end."""
    if plan.expected_epochs is not None:
        yield (
            f"  with early stopping, so at most: were each rung to let one trial in {plan.scheduler.reduction_factor} go on, "
            f"the sampler's would take {plan.expected_epochs:.3g} of {plan.epochs} epochs on average"
        )
    budgets = [
        *([f"{plan.stop.hours:g} hours"] if plan.stop.hours is not None else []),
        *([counted(plan.stop.epochs, "epoch")] if plan.stop.epochs is not None else []),
    ]
    if budgets:
        yield f"  no training is started after {' or '.join(budgets)}"
    if plan.stop.hypervolume is not None:
        rule = plan.stop.hypervolume
        yield (
            f"  {'nor' if budgets else 'no training is started'} once the hypervolume improves by less than "
            f"{100 * rule.improves_less_than:g} % over {counted(rule.over_trials, 'trial')}"
        )


def _caveats(plan: Plan, estimate: TimeEstimate) -> Iterator[str]:
    if estimate.trials < plan.trials:
        yield f"  only {counted(estimate.trials, 'architecture')} can be trained"
    ends = [duration(3600 * estimate.hours(network.epoch_seconds)) for network in (estimate.networks[0], estimate.networks[-1])]
    yield f"  were all trials like the cheapest {ends[0]}, like the costliest {ends[1]}"
    if estimate.concurrent > estimate.undisturbed:
        at_worst = duration(3600 * estimate.hours_at_worst)
        yield f"  trials share a GPU or a core: {at_worst} if they gain nothing by that"


def _title(name: str) -> str:
    return "GFLOPs" if name == "gflops" else name


def _ends(name: str, low: float, high: float) -> str:
    text = metric(name).text
    return text(low) if low == high else f"{text(low)} to {text(high)}"


def _percent(share: float) -> str:
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    if share < 1e-9 or share > 1 - 1e-9:
        return "< 1e-7 %" if share < 0.5 else "> 99.9999999 %"
    if share < 1e-4:
        return f"{100 * share:.2g} %"
    return f"{100 * share:.2f} %" if share < 0.9999 else f"{100 * share:.7f} %".rstrip()


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 1000 else f"{seconds:,.0f}"
