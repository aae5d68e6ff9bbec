"""The whole YAML, assembled from the rooms' sections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.cost.config import LatencyConfig
from cbam_search.data.config import DatasetConfig
from cbam_search.errors import ConfigError
from cbam_search.identity import DECIDES_NOTHING
from cbam_search.metrics import LATENCY
from cbam_search.records.config import RecordsConfig
from cbam_search.records.folder import StudyFolder
from cbam_search.records.manifest import name_problem
from cbam_search.running.config import ResourcesConfig
from cbam_search.safe_text import without_secrets
from cbam_search.search.config import ConstraintsConfig, Objectives, SearchConfig
from cbam_search.search.sampler_registry import SAMPLERS
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.own_config import AnyBackboneConfig
from cbam_search.study.input_file import folder_of
from cbam_search.study.yaml_file import parse_yaml, read_text
from cbam_search.tracking.config import TrackingConfig
from cbam_search.training.config import TrainingConfig


class StudyConfig(BaseModel):
    """A study: what may vary, on which data, and how the search goes about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, DECIDES_NOTHING] = Field(
        description="names the study and its folder: letters, digits, '.', '_' and '-'"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="of splits, proposals and every training")
    # Known by the images, not by where they lie.
    dataset: Annotated[DatasetConfig, DECIDES_NOTHING] = Field(description="the images")
    backbone: AnyBackboneConfig = Field(
        description="the networks that attention is placed in: a family, or your own by `module`"
    )
    attention: AttentionConfig = Field(default_factory=AttentionConfig, description="where attention may sit, and how")
    objectives: Objectives = Field(
        default={"accuracy": "max", "gflops": "min"},
        description="what the front trades off: accuracy, balanced_accuracy, macro_f1 (max), gflops, params, latency_ms (min)",
    )
    constraints: ConstraintsConfig = Field(default_factory=ConstraintsConfig, description="bounds on costs")
    latency: LatencyConfig | None = Field(default=None, description="what latency_ms is measured on")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="one recipe for every candidate")
    search: SearchConfig = Field(default_factory=SearchConfig, description="how many candidates, and who proposes them")
    resources: Annotated[ResourcesConfig, DECIDES_NOTHING] = Field(
        default_factory=ResourcesConfig, description="what one trial may use"
    )
    records: Annotated[RecordsConfig, DECIDES_NOTHING] = Field(
        default_factory=RecordsConfig, description="where the study is kept"
    )
    tracking: Annotated[TrackingConfig, DECIDES_NOTHING] = Field(default_factory=TrackingConfig, description="MLflow")

    @field_validator("name")
    @classmethod
    def _usable_name(cls, name: str) -> str:
        if problem := name_problem(name):
            raise PydanticCustomError("study_name", "{problem}", {"problem": problem})
        return name

    @model_validator(mode="after")
    def _room_for_baselines(self) -> StudyConfig:
        if len(self.search.baselines) > self.search.trials:
            raise PydanticCustomError(
                "trials",
                "{trials} are fewer than the {baselines} baselines that count among them",
                {"at": ("search", "trials"), "trials": self.search.trials, "baselines": len(self.search.baselines)},
            )
        return self

    @model_validator(mode="after")
    def _rungs_below_the_last_epoch(self) -> StudyConfig:
        scheduler, epochs = self.search.scheduler, self.training.epochs
        if scheduler.kind != "none" and scheduler.grace_period >= epochs:
            raise PydanticCustomError(
                "grace_period",
                "the first rung, at epoch {grace_period}, is not before the last of {epochs} epochs, so that no trial would "
                "ever be stopped. Lower grace_period, raise training.epochs, or leave the scheduler out",
                {"at": ("search", "scheduler"), "grace_period": scheduler.grace_period, "epochs": epochs},
            )
        return self

    @model_validator(mode="after")
    def _positions_of_the_family(self) -> StudyConfig:
        positions = self.backbone.positions
        whose = self.backbone.family if isinstance(self.backbone, BackboneConfig) else "your own network"
        for position in self.attention.position or ():
            if position not in positions:
                raise PydanticCustomError(
                    "position",
                    "{family} has no position '{position}'. Allowed: {allowed}",
                    {"at": ("attention", "position"), "family": whose, "position": position, "allowed": ", ".join(positions)},
                )
        return self

    @model_validator(mode="after")
    def _stages_are_known(self) -> StudyConfig:
        if self.attention.per == "stage" and not isinstance(self.backbone, BackboneConfig):
            raise PydanticCustomError(
                "no_stages",
                "the stages of your own network are not known here. Allowed: network, block",
                {"at": ("attention", "per")},
            )
        return self

    @model_validator(mode="after")
    def _latency_where_it_is_used(self) -> StudyConfig:
        used = [
            name
            for name, holds in (("objectives", LATENCY in self.objectives), ("constraints", self.constraints.measured_bounds()))
            if holds
        ]
        if used and self.latency is None:
            raise PydanticCustomError(
                "latency",
                "latency_ms in {used} needs the section latency, which names the device it is for, such as "
                "latency: {device: cpu} or latency: {device: H100}",
                {"at": (used[0], LATENCY), "used": " and ".join(used)},
            )
        if self.latency is not None and not used:
            raise PydanticCustomError(
                "latency",
                "the section latency is given, but nothing uses it: add latency_ms: min to objectives, or "
                "latency_ms: {at_most: ...} to constraints, or leave the section out",
                {"at": ("latency",)},
            )
        return self

    @model_validator(mode="after")
    def _objectives_of_the_sampler(self) -> StudyConfig:
        try:
            SAMPLERS[self.search.sampler_for(self.objectives)].check_objectives(self.objectives)
        except ValueError as error:
            message = f"{error}. Another sampler, such as tpe, takes these objectives"
            raise PydanticCustomError("objectives", "{message}", {"at": ("objectives",), "message": message}) from None
        return self

    def resolved_yaml(self) -> str:
        """Every setting with its value, as YAML."""
        content: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def read_study_config(path: Path) -> tuple[StudyConfig, str]:
    """The study in a YAML file and its text as given; relative paths in it start where `folder_of` says.

    Raises ConfigError with every mistake.
    """
    text = read_text(path)
    return _resolved(parse_yaml(text, str(path), StudyConfig), folder_of(path), lambda path: path), text


def read_config_of(folder: StudyFolder, *, as_launched: bool = False) -> StudyConfig:
    """The settings of a study that was launched, with the places of its files where its project is now.

    as_launched: those that it began with, by its resolved YAML; its `space.yaml`, which is read else, may have been edited.
    Raises ConfigError with every mistake, RecordsError where the manifest is damaged.
    """
    path = folder.resolved_yaml if as_launched else folder.given_yaml
    project = folder.project()
    return _resolved(parse_yaml(read_text(path), path.name, StudyConfig), project.yaml_folder, project.path)


def _resolved(config: StudyConfig, base: Path, moved: Callable[[str], str]) -> StudyConfig:
    """With relative paths from `base`, and every path as `moved` says."""
    resolved = {
        "dataset": config.dataset.resolved(base, moved),
        "backbone": config.backbone.resolved(base, moved),
        "search": config.search.resolved(base, moved),
    }
    return config.model_copy(update=resolved)


def without_secret_comments(text: str) -> str:
    """The text of a YAML file to keep: secrets in it are hidden wherever that changes no setting, as in a comment."""
    hidden = without_secrets(text)
    try:
        same = hidden == text or parse_yaml(hidden, "", StudyConfig) == parse_yaml(text, "", StudyConfig)
    except ConfigError:
        same = False
    return hidden if same else text


def written_settings(text: str, file_name: str) -> str:
    """Every setting of a YAML file with its value, as YAML; paths as they are written there."""
    return parse_yaml(text, file_name, StudyConfig).resolved_yaml()
