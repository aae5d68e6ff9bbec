"""The fixed ends of every objective's axis. They are stored before the first trial; the reference of a cost that trials measure
is stored once the published designs were measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from cbam_search.cost.model import CostModel
from cbam_search.errors import DataError
from cbam_search.metrics import METRICS, Direction, trained_values
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Trial, TrialState
from cbam_search.search.space_costs import space_costs
from cbam_search.space.space import Space


def objective_axes(
    objectives: Mapping[str, Direction],
    *,
    space: Space,
    cost: CostModel,
    bounds: Mapping[str, float],
    validation_labels: npt.NDArray[np.int64],
) -> tuple[ObjectiveAxis, ...]:
    """One axis an objective.

    A known cost runs from 0 to 1.1 times its constraint, or the largest value in the space where that is less. A measured cost
    runs from 0 to its constraint, or else to what `measured_reference` says later. An accuracy runs from what the majority
    class alone would score to 1. Raises DataError where that is 1 already.
    """
    known = [name for name in objectives if METRICS[name].source == "known"]
    costs = space_costs(space, cost) if known else None
    largest = {name: costs.range(name)[1] for name in known} if costs else {}
    majority = majority_scores(validation_labels)
    if majority["accuracy"] == 1.0:
        raise DataError(
            "the validation images are all of one class, so that no candidate could be told from a constant answer. Raise "
            "dataset.validation_fraction, or use more images"
        )
    references = {name: BEYOND_THE_WORST * min(largest[name], bounds.get(name, largest[name])) for name in known}
    ends = {"known": references, "measured": bounds, "trained": majority}
    return tuple(
        ObjectiveAxis(
            name=name,
            direction=direction,
            reference=ends[METRICS[name].source].get(name),
            ideal=1.0 if METRICS[name].source == "trained" else 0.0,
        )
        for name, direction in objectives.items()
    )


FIRST_COMPLETE = 5
"""Number of trials that fix the reference of a measured cost where no published design is complete."""
BEYOND_THE_WORST = 1.1
"""A cost's reference is so many times the largest value. At the largest value itself, the costliest network would add nothing
to the hypervolume, whatever its accuracy.
"""


def measured_reference(name: str, trials: Iterable[Trial], published: Collection[str], budget: int) -> float | None:
    """The reference of a measured cost: 1.1 times the largest value among the complete published designs.

    Where none of these is complete, it is taken from the first 5 complete trials (or `budget`, if that is less). None until all
    published designs have ended, and until there are enough complete trials.

    published: digests of the designs to be trained. budget: number of trials.
    """
    ended = [trial for trial in trials if trial.outcome is not None and trial.was_trained]
    if not set(published) <= {trial.candidate.digest for trial in ended}:
        return None
    complete = [trial for trial in ended if trial.state is TrialState.COMPLETE]
    chosen = [trial for trial in complete if trial.candidate.digest in published]
    if not chosen and len(complete) >= min(FIRST_COMPLETE, budget):
        chosen = complete
    return BEYOND_THE_WORST * max(trial.outcome.metrics[name].value for trial in chosen if trial.outcome) if chosen else None


def majority_scores(labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """What a predictor of the most frequent class scores on these labels, in every trained metric."""
    counts = np.bincount(labels)
    confusion = np.zeros((len(counts), len(counts)), dtype=np.int64)
    confusion[:, counts.argmax()] = counts
    return {name: measured.value for name, measured in trained_values(confusion).items()}
