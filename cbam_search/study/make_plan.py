"""`plan`: what a YAML file asks for, worked out before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cbam_search.cost.model import CostModel
from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.errors import DataError, ResourceError, UserError
from cbam_search.own_code import CodePermission
from cbam_search.search.impossible import impossible
from cbam_search.search.plan import Plan, PlannedData
from cbam_search.study.beforehand import check_beforehand
from cbam_search.study.config import StudyConfig, read_study_config
from cbam_search.study.memory_need import FEWEST_IMAGES, check_image_size, check_memory
from cbam_search.study.planned import planned, planned_data
from cbam_search.study.preparation import cost_notes, published_of
from cbam_search.study.space_from_config import require_code_permission, space_of
from cbam_search.study.starting_weights import notes_of, pretrained_of
from cbam_search.study.time_estimate import estimate_time


@dataclass(frozen=True)
class StandIn:
    """What the data are said to be, so that they need not be loaded. None where nothing was said."""

    image_size: int | None = None
    classes: int | None = None
    channels: int | None = None

    def data(self, dataset: DatasetConfig) -> PlannedData | None:
        """None where nothing was said; the YAML fills in what it knows. Raises UserError where too little is known."""
        if self == StandIn():
            return None
        size = (self.image_size, self.image_size) if self.image_size else dataset.height_width
        missing = ["--classes"] * (self.classes is None) + ["--image-size"] * (size is None)
        if size is None or self.classes is None:
            raise UserError(
                f"to plan without the data, {' and '.join(missing)} must be given too (without such options "
                f"the data are loaded)"
            )
        channels = self.channels or (3 if dataset.channels == "auto" else dataset.channels)
        return PlannedData(image_size=size, channels=channels, classes=self.classes)


def make_plan(space: str | Path, *, allow_code: bool = False, probe: bool = True, stand_in: StandIn | None = None) -> Plan:
    """The plan of the YAML file `space`; nothing is written.

    allow_code: as for `launch`. probe: time an epoch of three networks. stand_in: what the data are, in their place; nothing is
    loaded and timed then. Raises UserError.
    """
    config, _ = read_study_config(Path(space))
    code = CodePermission.of(allow_code)
    require_code_permission(config, code)
    images = (stand_in or StandIn()).data(config.dataset)
    data = None if images else _load(config, code)
    if data is not None:
        images = planned_data(data)
    assert images is not None
    searched = space_of(config, in_channels=images.channels, classes=images.classes, image_size=images.image_size, code=code)
    check_memory(config, searched, images.image_size, images=images.train or FEWEST_IMAGES)
    cost = CostModel(images.image_size, code=code)
    plan = planned(config, searched, cost, images, published_of(config, searched, cost))
    notes = (*_not_here(config), *plan.notes, *cost_notes(searched, cost), *notes_of(pretrained_of(config, searched)))
    plan = replace(plan, notes=notes)
    if data is None or not probe:
        return replace(plan, untimed="the data were not loaded" if data is None else "it was not asked for")
    if impossible(plan):
        return replace(plan, untimed="nothing can be trained")
    try:
        return replace(plan, estimate=estimate_time(plan, config, searched, cost, data, code=code))
    except ResourceError as error:
        return replace(plan, untimed=str(error))


def _not_here(config: StudyConfig) -> Iterator[str]:
    """What `launch` would refuse on this machine, as it is now; the search may be meant for another."""
    try:
        check_beforehand(config)
    except UserError as error:
        yield f"launch will refuse this file here: {error}"


def _load(config: StudyConfig, code: CodePermission) -> ImageData:
    check_image_size(config)
    try:
        return load(config.dataset, seed=config.seed, code=code)
    except DataError as error:
        raise DataError(f"{error}\nTo plan without the data, say what they are: --classes N --image-size PIXELS") from None
