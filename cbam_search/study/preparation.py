"""Everything that is known before the first trial: data, space, costs, the axes' ends, the published designs."""

from __future__ import annotations

from dataclasses import dataclass, field

from cbam_search.architecture import published
from cbam_search.backbones.pretrained import Pretrained
from cbam_search.cost.model import CostModel
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.errors import SpaceError
from cbam_search.own_code import NO_CODE, CodePermission
from cbam_search.records.evaluation_cache import EvaluationCache, open_cache
from cbam_search.records.manifest import DataSummary, ObjectiveAxis, WarmStart
from cbam_search.report.plan_warnings import plan_warnings
from cbam_search.search.impossible import impossible
from cbam_search.search.plan import Plan
from cbam_search.search.published import PublishedDesigns, published_designs
from cbam_search.search.reference import objective_axes
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig
from cbam_search.study.memory_need import check_image_size, check_memory
from cbam_search.study.planned import planned, planned_data
from cbam_search.study.space_from_config import require_code_permission, space_of
from cbam_search.study.starting_weights import notes_of, pretrained_of


@dataclass(frozen=True)
class Preparation:
    """The parts that a driver needs. code: whether the user's own code may run. warnings: what `plan` warns of."""

    config: StudyConfig
    data: ImageData
    space: Space
    cost: CostModel
    bounds: dict[str, float]
    objectives: tuple[ObjectiveAxis, ...]
    published: PublishedDesigns
    code: CodePermission = NO_CODE
    pretrained: Pretrained = field(default_factory=dict)
    evaluations: EvaluationCache | None = None
    warm_start: WarmStart | None = None
    warnings: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know of data, weights and the plan, before it begins."""
        warnings = (f"warning: {warning}" for warning in self.warnings)
        return (*self.data.notes, *cost_notes(self.space, self.cost), *notes_of(self.pretrained), *warnings)


def prepare(config: StudyConfig, *, code: CodePermission = NO_CODE) -> Preparation:
    """Load the data and work out the rest; raises DataError, CodeNotAllowedError, OwnCodeError, SpaceError, WeightsError, or
    UserError where the evaluation cache cannot be written.
    """
    require_code_permission(config, code)
    evaluations = open_cache(config.search.evaluation_cache)
    check_image_size(config)
    data = load(config.dataset, seed=config.seed, code=code)
    space = space_of(config, in_channels=data.channels, classes=data.classes, image_size=data.image_size, code=code)
    check_memory(config, space, data.image_size, images=len(data.train))
    cost = CostModel(data.image_size, code=code)
    bounds = config.constraints.bounds()
    published = published_of(config, space, cost)
    pretrained = pretrained_of(config, space)
    plan = planned(config, space, cost, planned_data(data), published)
    _check_possible(plan)
    objectives = objective_axes(
        config.objectives,
        space=space,
        cost=cost,
        bounds=bounds | config.constraints.measured_bounds(),
        validation_labels=data.validation.labels,
    )
    return Preparation(
        config, data, space, cost, bounds, objectives, published, code, pretrained, evaluations, warnings=plan_warnings(plan)
    )


def published_of(config: StudyConfig, space: Space, cost: CostModel) -> PublishedDesigns:
    """The published designs that `search.baselines` asks for."""
    return published_designs(
        space,
        config.search.baselines,
        at_most_backbones=config.search.published_backbones,
        cost=cost.cost,
        bounds=config.constraints.bounds(),
    )


def cost_notes(space: Space, cost: CostModel) -> tuple[str, ...]:
    """What the costs of the user's own networks leave out, one note a backbone."""
    notes = []
    for backbone in space.backbones:
        if unknown := cost.cost(published(backbone, None)).unknown:
            named = ", ".join(f"{operator} (called {times} times)" for operator, times in unknown.items())
            notes.append(
                f"gflops of {backbone.name} leave out operators that nothing is known of, and are too low by what these take: "
                f"{named}"
            )
    return tuple(notes)


def summary(data: ImageData) -> DataSummary:
    """The data for the records."""
    return DataSummary(
        fingerprint=data.fingerprint,
        train=len(data.train),
        validation=len(data.validation),
        test=data.test_count,
        class_names=data.class_names,
        channels=data.channels,
        image_size=data.image_size,
        mean=data.mean,
        std=data.std,
        storage=data.storage,
        notes=data.notes,
    )


def _check_possible(plan: Plan) -> None:
    if problems := impossible(plan):
        raise SpaceError("\n".join(problems))
