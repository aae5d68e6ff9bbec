"""The fixed ends of every objective's axis, stored before the first trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cbam_search.architecture import Architecture, Backbone, published
from cbam_search.cost.cost import Cost
from cbam_search.errors import DataError
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.search.config import KNOWN, Direction
from cbam_search.search.feasibility import known_values
from cbam_search.space.config import settings_of
from cbam_search.space.space import Space


def objective_axes(
    objectives: Mapping[str, Direction],
    *,
    space: Space,
    cost: Callable[[Architecture], Cost],
    bounds: Mapping[str, float],
    validation_labels: npt.NDArray[np.int64],
) -> tuple[ObjectiveAxis, ...]:
    """One axis an objective.

    A known cost runs from 0 to its constraint, or else to the largest value in the space. A measured objective runs from what
    the majority class alone would score to 1. Raises DataError where that is 1 already.
    """
    largest = maximum_costs(space, cost)
    majority = majority_scores(validation_labels)
    if majority["accuracy"] == 1.0:
        raise DataError("the validation images are all of one class, so that no candidate could be told from a constant answer")
    return tuple(
        ObjectiveAxis(name=name, direction=direction, reference=min(largest[name], bounds.get(name, largest[name])), ideal=0.0)
        if name in KNOWN
        else ObjectiveAxis(name=name, direction=direction, reference=majority[name], ideal=1.0)
        for name, direction in objectives.items()
    )


def maximum_costs(space: Space, cost: Callable[[Architecture], Cost]) -> dict[str, float]:
    """The largest gflops and params in the space.

    Costs add up over blocks, so each unit is maximised alone; within a unit, each setting is: which choice costs most does
    not depend on the other settings.
    """
    largest = dict.fromkeys(KNOWN, 0.0)
    for backbone in space.backbones:
        bare = known_values(cost(published(backbone, None)))
        for name in KNOWN:
            added = sum(_costliest(space, backbone, unit, name, cost) - bare[name] for unit in space.units_of(backbone))
            largest[name] = max(largest[name], bare[name] + added)
    return largest


def _costliest(space: Space, backbone: Backbone, unit: str, name: str, cost: Callable[[Architecture], Cost]) -> float:
    def value(settings: Mapping[str, Any]) -> float:
        return known_values(cost(space.with_one_unit(backbone, unit, settings)))[name]

    costliest = []
    for kind in space.attention_config.kind:
        settings = {"kind": kind, **{setting: choices[0] for setting, choices in space.settings.items()}}
        read = settings_of(kind)
        for setting, choices in space.settings.items():
            if setting in read:
                settings[setting] = max(choices, key=lambda choice: value(settings | {setting: choice}))
        costliest.append(value(settings))
    return max(costliest)


def majority_scores(labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """What a predictor of the most frequent class scores on these labels.

    Its recall is 1 on that class and 0 elsewhere; its F1 there is 2p / (1 + p), with p the share of that class. Classes without
    a label here do not count, as in `training.metrics`.
    """
    counts = np.bincount(labels)
    share = float(counts.max() / counts.sum())
    present = int((counts > 0).sum())
    return {"accuracy": share, "balanced_accuracy": 1.0 / present, "macro_f1": 2.0 * share / (1.0 + share) / present}
