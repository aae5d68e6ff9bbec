"""The YAML sections `objectives`, `constraints` and `search`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.architecture import ATTENTION_KINDS
from cbam_search.space.choices import Choices, OneOf

Direction = Literal["max", "min"]
MEASURED: tuple[str, ...] = ("accuracy", "balanced_accuracy", "macro_f1")
KNOWN: tuple[str, ...] = ("gflops", "params")
DIRECTIONS: dict[str, Direction] = {**dict.fromkeys(MEASURED, "max"), **dict.fromkeys(KNOWN, "min")}

ObjectiveName = Annotated[str, OneOf("objective", (*MEASURED, *KNOWN), later=("latency_ms",))]


def _sensible(objectives: dict[str, Direction]) -> dict[str, Direction]:
    for name, direction in objectives.items():
        if direction != DIRECTIONS[name]:
            raise PydanticCustomError("direction", "{name} is to be '{right}'", {"name": name, "right": DIRECTIONS[name]})
    if not any(name in MEASURED for name in objectives):
        raise PydanticCustomError(
            "objectives", "name at least one that training measures: {names}", {"names": ", ".join(MEASURED)}
        )
    return objectives


Objectives = Annotated[dict[ObjectiveName, Direction], Field(min_length=1), AfterValidator(_sensible)]


class Bound(BaseModel):
    """An upper bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_most: float = Field(gt=0, allow_inf_nan=False, description="largest value allowed")


class ConstraintsConfig(BaseModel):
    """Bounds on what is known before training; a candidate beyond them is never trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gflops: Bound | None = Field(default=None, description="1e9 multiply-adds of convolutions and linear layers, one image")
    params: Bound | None = Field(default=None, description="number of parameters")

    @model_validator(mode="before")
    @classmethod
    def _latency_comes_later(cls, data: Any) -> Any:
        if isinstance(data, dict) and "latency_ms" in data:
            raise PydanticCustomError("not_available", "a constraint on 'latency_ms' is not available in this version")
        return data

    def bounds(self) -> dict[str, float]:
        """Upper bound by name, of those that are set."""
        given = {"gflops": self.gflops, "params": self.params}
        return {name: bound.at_most for name, bound in given.items() if bound is not None}


class SchedulerConfig(BaseModel):
    """Whether trials are stopped early."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str, OneOf("scheduler", ("none",), later=("pareto_asha",))] = Field(
        default="none", description="none: every trial trains to the end"
    )


SAMPLERS: tuple[str, ...] = ("tpe", "nsga2", "nsga3", "gp", "random", "qmc", "grid")


class SearchConfig(BaseModel):
    """How many candidates are trained, and who proposes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(default=100, ge=1, description="trainings to start, published designs included")
    sampler: Annotated[str, OneOf("sampler", SAMPLERS, later=("known_cost",))] = Field(
        default="tpe", description="an Optuna sampler, or grid: every architecture of a small space"
    )
    baselines: (
        Choices[Annotated[str, OneOf("baseline", ("none", *ATTENTION_KINDS.names()))]] | Annotated[tuple[()], Field()]
    ) = Field(
        default=("none", "se", "cbam"),
        description="published designs trained beside the search: bare, or a kind at every site with its published settings",
    )
    published_backbones: int = Field(
        default=4, ge=1, description="baselines are trained on at most this many backbones, spread from cheapest to costliest"
    )
    scheduler: SchedulerConfig = Field(default=SchedulerConfig(), description="early stopping")

    @model_validator(mode="before")
    @classmethod
    def _later(cls, data: Any) -> Any:
        for key in ("start_from", "evaluation_cache", "stop"):
            if isinstance(data, dict) and key in data:
                raise PydanticCustomError("not_available", "'{key}' is not available in this version", {"key": key})
        return data
