"""The plan of a study, from its parts: what is known before anything is timed or trained."""

from __future__ import annotations

import numpy as np

from cbam_search.cost.model import CostModel
from cbam_search.data.images import ImageData
from cbam_search.metrics import LATENCY
from cbam_search.search.feasibility import excess
from cbam_search.search.plan import Design, Plan, PlannedData
from cbam_search.search.published import PublishedDesigns
from cbam_search.search.sampler_registry import SAMPLERS
from cbam_search.search.space_costs import SpaceCosts, space_costs
from cbam_search.search.space_notes import space_notes
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig

COUNTED_ONE_BY_ONE = 2_000
"""Of smaller spaces it is counted exactly what the constraints leave."""
COUNTED_OF_A_GRID = 100
"""The same of a grid's space, up to so many times search.trials."""


def planned_data(data: ImageData) -> PlannedData:
    """What a plan says of images that were loaded."""
    return PlannedData(
        data.image_size,
        data.channels,
        data.classes,
        train=len(data.train),
        validation=len(data.validation),
        validation_classes=len(np.unique(data.validation.labels)),
        notes=data.notes,
    )


def planned(config: StudyConfig, space: Space, cost: CostModel, data: PlannedData, published: PublishedDesigns) -> Plan:
    """The plan, with notes on the space."""
    bounds = config.constraints.bounds()
    costs = space_costs(space, cost)
    sampler = config.search.sampler_for(config.objectives)
    return Plan(
        name=config.name,
        parameters=len(space.parameters),
        costs=costs,
        objectives=dict(config.objectives),
        bounds=bounds,
        left=_share_left(config, space, cost, costs),
        designs=tuple(
            Design(architecture, cost.cost(architecture), excluded)
            for architectures, excluded in ((published.trained, False), (published.excluded, True))
            for architecture in architectures
        ),
        designs_outside=sum(space.encode(design) is None for design in published.trained),
        data=data,
        sampler=sampler,
        trials=config.search.trials,
        epochs=config.training.epochs,
        batch_size=config.training.batch_size,
        scheduler=config.search.scheduler,
        stop=config.search.stop,
        latency=config.latency,
        latency_at_most=config.constraints.measured_bounds().get(LATENCY),
        notes=space_notes(space, cost),
    )


def _share_left(config: StudyConfig, space: Space, cost: CostModel, costs: SpaceCosts) -> tuple[float, float]:
    bounds = config.constraints.bounds()
    listed_at_most = COUNTED_ONE_BY_ONE
    if SAMPLERS[config.search.sampler_for(config.objectives)].enumerates:
        listed_at_most = max(listed_at_most, COUNTED_OF_A_GRID * config.search.trials)
    least, most = costs.share_within(bounds)
    if least == most or costs.count > listed_at_most:
        return least, most
    share = sum(excess(cost.cost(architecture), bounds) == 0 for architecture in space.enumerate()) / costs.count
    return share, share
