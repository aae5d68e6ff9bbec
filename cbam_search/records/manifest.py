"""What a study is: written once, before its first trial."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cbam_search.architecture import Architecture
from cbam_search.metrics import Direction
from cbam_search.pareto import Axis
from cbam_search.safe_text import printable

SCHEMA_VERSION = 2
"""Of the whole folder. 1: version 0.1. 2: trainings lie in `evaluations`, metrics carry their errors."""

_STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def name_problem(name: str) -> str | None:
    """Why a study cannot have this name, in a sentence; None where it can."""
    if _STUDY_NAME.fullmatch(name) and name != "latest":
        return None
    return f"'{printable(name)}' cannot name a study: use letters, digits, '.', '_' and '-', at most 100, and not 'latest'"


class ObjectiveAxis(BaseModel):
    """An objective with its direction, and the fixed ends of its axis for the hypervolume.

    reference: None for a cost that trials measure, until it is fixed after the published designs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    direction: Direction
    reference: float | None
    ideal: float

    @property
    def maximise(self) -> bool:
        return self.direction == "max"

    def axis(self) -> Axis | None:
        """None while its reference is not fixed."""
        return None if self.reference is None else Axis(self.name, self.maximise, self.reference, self.ideal)


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


class LatencySummary(BaseModel):
    """What latency_ms was of: the type of device, the batch, and on a processor torch's threads (0 on a GPU)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    batch_size: int
    precision: str
    threads: int

    @property
    def text(self) -> str:
        """`batches of 1 on AMD EPYC, 2 threads, float32`."""
        threads = f", {self.threads} thread{'' if self.threads == 1 else 's'}" if self.threads else ""
        return f"batches of {self.batch_size} on {self.device}{threads}, {self.precision}"


class WarmStartMember(BaseModel):
    """A member of another study's front, mapped into this one's space. trial: its number there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture
    trial: int


class WarmStart(BaseModel):
    """What `search.start_from` came to at launch: a resumed study does not ask the other study again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    study_id: str
    members: tuple[WarmStartMember, ...]

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        return tuple(member.architecture for member in self.members)


class BudgetChange(BaseModel):
    """A study was allowed more, or less.

    trials, hours: in all, from then on; hours None: without limit.
    given: trials and hours of the YAML at that time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_seconds: float
    version: str
    trials: int
    hours: float | None
    given: tuple[int, float | None]


class StudyManifest(BaseModel):
    """Name, identity, versions, data, objectives and the size of the space, as they were at launch.

    trials, hours: the budget at launch.
    seed: of the search's trainings.
    backbone_source: SHA-256 of the source of the user's own backbone, where it is one.
    history: what was asked for since, beyond that budget.
    yaml_folder: at launch; yaml_folder_from_study: the same from the study's folder, for a project that moves as a whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1, 2] = 2
    name: str
    study_id: str
    created_seconds: float
    yaml_folder: str
    yaml_folder_from_study: str | None = None
    yaml_file: str | None = None
    versions: dict[str, str]
    hardware: str
    data: DataSummary
    objectives: tuple[ObjectiveAxis, ...]
    trials: int
    hours: float | None = None
    epochs: int
    seed: int = 0
    distinct_architectures: int
    parameters: int
    published: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    backbone_source: str | None = None
    latency: LatencySummary | None = None
    warm_start: WarmStart | None = None
    weights: dict[str, str] = {}
    """SHA-256 of the file that trainings start from, by backbone; a study is resumed on the same weights only."""

    history: tuple[BudgetChange, ...] = ()

    @property
    def trials_allowed(self) -> int:
        """Trainings in all, as asked for last."""
        return self.history[-1].trials if self.history else self.trials

    @property
    def hours_allowed(self) -> float | None:
        """Hours in all, as asked for last; None without limit."""
        return self.history[-1].hours if self.history else self.hours

    def with_references(self, references: Mapping[str, float]) -> StudyManifest:
        """The same with the references of these objectives fixed."""
        objectives = tuple(
            objective.model_copy(update={"reference": references[objective.name]})
            if objective.name in references
            else objective
            for objective in self.objectives
        )
        return self.model_copy(update={"objectives": objectives})
