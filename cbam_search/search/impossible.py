"""What a plan asks for that cannot be: `launch` refuses it before a study is made, and `plan` says so."""

from __future__ import annotations

from collections.abc import Iterator

from cbam_search.metrics import metric
from cbam_search.search.plan import Plan
from cbam_search.search.sampler_registry import SAMPLERS

FEWEST_TRAINING_IMAGES = 2
"""Batch norm needs more than one image a batch: of a single one it knows no spread."""


def impossible(plan: Plan) -> tuple[str, ...]:
    """A sentence for each thing that cannot be, with what to do; empty where all can."""
    return (*_excluded(plan), *_too_few_trials(plan), *_too_few_images(plan))


def _excluded(plan: Plan) -> Iterator[str]:
    alone = [(name, bound) for name, bound in plan.bounds.items() if plan.costs.range(name)[0] > bound]
    for name, bound in alone:
        text = metric(name).text
        yield (
            f"constraints.{name} ({text(bound)}) excludes everything: the cheapest architecture has "
            f"{text(plan.costs.range(name)[0])}. Raise it, or add smaller backbones"
        )
    if not alone and plan.leaves_nothing:
        named = " and ".join(f"constraints.{name}" for name in plan.bounds)
        yield f"{named} together exclude everything: no architecture is within both. Raise one, or add smaller backbones"


def _too_few_trials(plan: Plan) -> Iterator[str]:
    if plan.trained_designs > plan.trials:
        yield (
            f"search.trials is {plan.trials}, fewer than the {plan.trained_designs} published designs that are trained first. "
            f"Raise search.trials, or lower search.published_backbones or search.baselines"
        )
    left = plan.architectures_left
    count = plan.costs.count if left is None else left
    if SAMPLERS[plan.sampler].enumerates and count + plan.designs_outside > plan.trials:
        outside = plan.designs_outside
        beside = f", beside {outside} published designs outside it" if outside else ""
        yield (
            f"sampler grid trains every architecture, and this space has {count:,} distinct ones{beside}, but search.trials is "
            f"{plan.trials:,}. Raise search.trials, narrow the space, or take another sampler"
        )


def _too_few_images(plan: Plan) -> Iterator[str]:
    if plan.data.train is not None and plan.data.train < FEWEST_TRAINING_IMAGES:
        yield f"training needs {FEWEST_TRAINING_IMAGES} images at least, and the training split has {plan.data.train}"
    if plan.data.validation_classes == 1:
        yield (
            "the validation images are all of one class, so that no candidate could be told from a constant answer. Raise "
            "dataset.validation_fraction, or use more images"
        )
