"""The worker's class without Ray: as `with_parameters` makes it, in this process."""

from __future__ import annotations

from typing import Any

from cbam_search.running.trainable import CandidateTrainable, TrainingJob

from cbam_search.architecture import Architecture
from cbam_search.data.images import ImageData
from cbam_search.records.trials import Outcome


class InProcess(CandidateTrainable):
    """What Ray's `with_parameters` makes of the class."""

    data: ImageData
    job: TrainingJob

    def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
        super().setup(config, data=self.data, job=self.job)


def config_of(evaluation: str = "0", name: str = "cifar_resnet8_0.25+cbam") -> dict[str, Any]:
    architecture = Architecture.named(name, in_channels=1, classes=10).model_dump_json()
    return {"trial": 0, "evaluation": evaluation, "architecture": architecture}


def outcome_of(result: dict[str, Any]) -> Outcome:
    return Outcome.model_validate_json(result["outcome"])
