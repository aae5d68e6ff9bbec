"""What a study is: written once, before its first trial."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cbam_search.pareto import Axis

STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ObjectiveAxis(BaseModel):
    """An objective with its direction, and the fixed ends of its axis for the hypervolume."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    direction: Literal["max", "min"]
    reference: float
    ideal: float

    @property
    def maximise(self) -> bool:
        return self.direction == "max"

    def axis(self) -> Axis:
        return Axis(self.name, self.maximise, self.reference, self.ideal)


class DataSummary(BaseModel):
    """The data as they were when the study began; a study is resumed on the same fingerprint only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    train: int
    validation: int
    test: int
    class_names: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    storage: str
    notes: tuple[str, ...]


class StudyManifest(BaseModel):
    """Name, identity, versions, data, objectives and the size of the space."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    study_id: str
    created_seconds: float
    yaml_folder: str
    versions: dict[str, str]
    hardware: str
    data: DataSummary
    objectives: tuple[ObjectiveAxis, ...]
    trials: int
    epochs: int
    distinct_architectures: int
    parameters: int
    published: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    weights: dict[str, str] = {}
    """SHA-256 of the file that trainings start from, by backbone; a study is resumed on the same weights only."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(objective.axis() for objective in self.objectives)
