"""The fixed ends of every objective's axis, stored before the first trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from cbam_search.architecture import Architecture
from cbam_search.cost.cost import Cost
from cbam_search.errors import DataError
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.search.config import KNOWN, Direction
from cbam_search.search.space_costs import space_costs
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
    costs = space_costs(space, cost)
    largest = {name: costs.range(name)[1] for name in KNOWN}
    majority = majority_scores(validation_labels)
    if majority["accuracy"] == 1.0:
        raise DataError("the validation images are all of one class, so that no candidate could be told from a constant answer")
    return tuple(
        ObjectiveAxis(name=name, direction=direction, reference=min(largest[name], bounds.get(name, largest[name])), ideal=0.0)
        if name in KNOWN
        else ObjectiveAxis(name=name, direction=direction, reference=majority[name], ideal=1.0)
        for name, direction in objectives.items()
    )


def majority_scores(labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """What a predictor of the most frequent class scores on these labels.

    Its recall is 1 on that class and 0 elsewhere; its F1 there is 2p / (1 + p), with p the share of that class. Classes without
    a label here do not count, as in `training.metrics`.
    """
    counts = np.bincount(labels)
    share = float(counts.max() / counts.sum())
    present = int((counts > 0).sum())
    return {"accuracy": share, "balanced_accuracy": 1.0 / present, "macro_f1": 2.0 * share / (1.0 + share) / present}
