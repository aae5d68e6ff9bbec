"""The fixed ends of every objective's axis, stored before the first trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from cbam_search.architecture import Architecture, published
from cbam_search.cost.cost import Cost
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.search.config import KNOWN, Direction
from cbam_search.search.feasibility import known_values
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
    the majority class alone would score to 1.
    """
    largest = maximum_costs(space, cost)
    majority = majority_scores(validation_labels, space.classes)
    return tuple(
        ObjectiveAxis(name=name, direction=direction, reference=min(largest[name], bounds.get(name, largest[name])), ideal=0.0)
        if name in KNOWN
        else ObjectiveAxis(name=name, direction=direction, reference=majority[name], ideal=1.0)
        for name, direction in objectives.items()
    )


def maximum_costs(space: Space, cost: Callable[[Architecture], Cost]) -> dict[str, float]:
    """The largest gflops and params in the space, exact: costs add up over blocks, so each unit is maximised alone."""
    largest = dict.fromkeys(KNOWN, 0.0)
    for backbone in space.backbones:
        bare = known_values(cost(published(backbone, None)))
        added: dict[str, dict[str, float]] = {name: {} for name in KNOWN}
        for unit, architecture in space.unit_architectures(backbone):
            values = known_values(cost(architecture))
            for name in KNOWN:
                added[name][unit] = max(added[name].get(unit, 0.0), values[name] - bare[name])
        for name in KNOWN:
            largest[name] = max(largest[name], bare[name] + sum(added[name].values()))
    return largest


def majority_scores(labels: npt.NDArray[np.int64], classes: int) -> dict[str, float]:
    """What a predictor of the most frequent class scores on these labels.

    Its recall is 1 on that class and 0 elsewhere; its F1 there is 2p / (1 + p), with p the share of that class.
    """
    counts = np.bincount(labels, minlength=classes)
    share = float(counts.max() / counts.sum())
    present = int((counts > 0).sum())
    return {"accuracy": share, "balanced_accuracy": 1.0 / present, "macro_f1": 2.0 * share / (1.0 + share) / classes}
