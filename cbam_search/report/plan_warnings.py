"""Warnings about a plan: flat axes, constraints that exclude too much or nothing, budgets and data that are too small."""

from __future__ import annotations

from collections.abc import Iterator

from cbam_search.architecture import OwnBackbone
from cbam_search.counted import counted
from cbam_search.metrics import binomial_error, metric
from cbam_search.search.impossible import impossible
from cbam_search.search.plan import Plan
from cbam_search.search.space_costs import AXES

FLAT_AXIS = 0.05
"""An axis is degenerate when the costs that the constraints leave differ by less than this share of the largest."""
SMALL_SHARE = 0.01
"""Constraints that leave less of the space than this waste most proposals."""
LARGE_ERROR = 0.01
"""Of a validation accuracy of 90 %: one standard error above this is said to be large."""


def plan_warnings(plan: Plan) -> tuple[str, ...]:
    """One or two sentences for each problem, first of what launch refuses; empty where there is none."""
    return (
        *(f"launch will refuse this file: {problem}" for problem in impossible(plan)),
        *_of_axes(plan),
        *_of_constraints(plan),
        *_of_designs(plan),
        *_of_the_budget(plan),
        *_of_data(plan),
        *plan.notes,
    )


def _of_axes(plan: Plan) -> Iterator[str]:
    for name in AXES:
        low, high = plan.costs.range(name)
        high = max(low, min(high, plan.bounds.get(name, high)))
        if name in plan.objectives and high - low < FLAT_AXIS * high:
            text = metric(name).text
            varied = f"varies by {100 * (high - low) / high:.2g} %" if high > low else "does not vary"
            yield (
                f"{name} {varied} in this space ({text(low)} to {text(high)}), so that the front would trade accuracy for "
                f"next to nothing: add {_keys_that_vary_backbones(plan)}, or use latency_ms"
            )


def _keys_that_vary_backbones(plan: Plan) -> str:
    own = any(isinstance(entry.backbone, OwnBackbone) for entry in plan.costs.backbones)
    return "choices of backbone.arguments" if own else "depth or width choices to the backbone"


def _of_constraints(plan: Plan) -> Iterator[str]:
    for name, bound in plan.bounds.items():
        _, high = plan.costs.range(name)
        text = metric(name).text
        if high <= bound:
            yield f"constraints.{name} ({text(bound)}) excludes nothing: the costliest architecture has {text(high)}"
    if 0 < plan.left[1] < SMALL_SHARE:
        yield (
            "the constraints leave less than 1 % of the architectures; proposals beyond them cost no training, but a sampler "
            "that meets few others learns slowly: give it smaller backbones, or raise the bounds"
        )


def _of_designs(plan: Plan) -> Iterator[str]:
    excluded = [design.label for design in plan.designs if design.excluded]
    if excluded:
        yield (
            f"the constraints exclude {len(excluded)} of {counted(len(plan.designs), 'published design')}, which are listed "
            f"but not trained: {', '.join(excluded)}"
        )
    if plan.trained_designs == plan.trials:
        yield f"the {counted(plan.trials, 'trial')} are all published designs, so that nothing is searched: raise search.trials"


def _of_the_budget(plan: Plan) -> Iterator[str]:
    left = plan.architectures_left
    if plan.costs.count == 1:
        yield "the space has a single architecture, so that nothing is searched: add choices"
    elif left is not None and 0 < left < plan.trials:
        yield (
            f"only {counted(left, 'architecture')} can be trained, fewer than search.trials ({plan.trials:,}): the study ends "
            f"when it has trained them all"
        )
    yield from _of_early_stopping(plan)
    yield from _of_stops(plan)


def _of_early_stopping(plan: Plan) -> Iterator[str]:
    factor = plan.scheduler.reduction_factor
    if plan.scheduler.kind != "none" and plan.trials < factor:
        yield (
            f"scheduler {plan.scheduler.kind} stops no trial: of {factor} at a rung one goes on, and search.trials is "
            f"{plan.trials}. Lower reduction_factor, raise search.trials, or leave the scheduler out"
        )


def _of_stops(plan: Plan) -> Iterator[str]:
    """Budgets of `search.stop` that end the search before it begins, or never."""
    epochs, hypervolume = plan.stop.epochs, plan.stop.hypervolume
    first = max(1, plan.trained_designs) * plan.epochs
    if epochs is not None and epochs <= first and plan.trials > plan.trained_designs:
        trained = counted(plan.trained_designs, "published design") if plan.trained_designs else "first training"
        yield (
            f"search.stop.epochs is {epochs:,}, and the {trained} alone may take {first:,}, so that hardly anything is "
            f"searched. Raise it"
        )
    if hypervolume is not None and hypervolume.over_trials >= plan.trials:
        yield (
            f"search.stop.hypervolume looks at the last {counted(hypervolume.over_trials, 'training')} and never ends the "
            f"study: search.trials is {plan.trials}. Lower over_trials"
        )


def _of_data(plan: Plan) -> Iterator[str]:
    train = plan.data.train
    if train is not None and 1 < train < plan.batch_size:
        yield (
            f"training.batch_size ({plan.batch_size:,}) is more than the {train:,} training images: an epoch is a single step, "
            f"and a training takes {counted(plan.epochs, 'step')}. Lower it"
        )
    images = plan.data.validation
    if images is not None and (error := binomial_error(0.9, images)) > LARGE_ERROR:
        yield (
            f"{counted(images, 'validation image')}: one standard error of an accuracy of 90 % is {100 * error:.1f} points, "
            f"and smaller differences between candidates are noise. Raise dataset.validation_fraction, or use more images"
        )
