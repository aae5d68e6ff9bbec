"""The YAML sections `objectives`, `constraints` and `search`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.architecture import ATTENTION_KINDS
from cbam_search.identity import DECIDES_NOTHING
from cbam_search.metrics import METRICS, Direction, Source, names_of
from cbam_search.search.sampler_registry import AUTO, SAMPLERS, automatic_sampler
from cbam_search.space.choices import Choices, OneOf

ObjectiveName = Annotated[str, OneOf("objective", METRICS.names())]


def _sensible(objectives: dict[str, Direction]) -> dict[str, Direction]:
    for name, direction in objectives.items():
        right = METRICS[name].direction
        if direction != right:
            raise PydanticCustomError("direction", "{name} is to be '{right}'", {"name": name, "right": right})
    trained = names_of("trained")
    if not any(name in trained for name in objectives):
        raise PydanticCustomError(
            "objectives", "name at least one that training measures: {names}", {"names": ", ".join(trained)}
        )
    return objectives


Objectives = Annotated[dict[ObjectiveName, Direction], Field(min_length=1), AfterValidator(_sensible)]


class Bound(BaseModel):
    """An upper bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_most: float = Field(gt=0, allow_inf_nan=False, description="largest value allowed")


class Constraints(BaseModel):
    """Bounds on costs. A candidate beyond them is never trained. GFLOPs and parameters are checked when it is proposed, a
    latency is measured by its trial first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def _bounds_of(self, source: Source) -> dict[str, float]:
        given = {name: getattr(self, name) for name in names_of(source)}
        return {name: bound.at_most for name, bound in given.items() if bound is not None}

    def bounds(self) -> dict[str, float]:
        """Upper bound by name, of those that are set on costs that are known before anything runs."""
        return self._bounds_of("known")

    def measured_bounds(self) -> dict[str, float]:
        """The same of costs that trials measure."""
        return self._bounds_of("measured")


if TYPE_CHECKING:
    ConstraintsConfig = Constraints
else:
    # One key a metric that can be bounded.
    ConstraintsConfig = create_model(
        "ConstraintsConfig",
        __base__=Constraints,
        __doc__=Constraints.__doc__,
        **{
            name: (Bound | None, Field(default=None, description=METRICS[name].description))
            for name in names_of("known", "measured")
        },
    )


class SchedulerConfig(BaseModel):
    """Whether trials are stopped early."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str, OneOf("scheduler", ("none", "pareto_asha"))] = Field(
        default="none",
        description="none: every trial trains to the end. pareto_asha: trials that fall behind in all objectives together are "
        "stopped",
    )
    grace_period: int = Field(default=3, ge=1, description="pareto_asha: epochs of the first rung; no trial is stopped before")
    reduction_factor: int = Field(
        default=3,
        ge=2,
        description="pareto_asha: one in so many trials at a rung goes on, and the next rung is at so many times the epochs",
    )

    @model_validator(mode="after")
    def _settings_of_a_kind(self) -> SchedulerConfig:
        # By value, not by whether it is given: resolved YAML writes defaults out.
        for name in ("grace_period", "reduction_factor") if self.kind == "none" else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise PydanticCustomError(
                    "scheduler",
                    "without a kind no trial is stopped early: add kind: pareto_asha or leave it out",
                    {"at": (name,)},
                )
        return self


class HypervolumeStop(BaseModel):
    """When the front no longer gets better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    improves_less_than: float = Field(
        default=0.001, gt=0, allow_inf_nan=False, description="share of the hypervolume: 0.001 is a tenth of a percent"
    )
    over_trials: int = Field(default=30, ge=1, description="so many trainings that ended last, in whatever state")


class StopConfig(BaseModel):
    """Budgets beside `trials`: when one is used up no training is started any more, and those under way finish."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hours: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="wall-clock of the study, all its resumes together"
    )
    epochs: int | None = Field(default=None, ge=1, description="epochs trained, over all trials")
    hypervolume: HypervolumeStop | None = Field(default=None, description="end when the front hardly gets better")


class StartFrom(BaseModel):
    """Whose front a search starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str = Field(min_length=1, description="another study: its name, its folder, or latest")
    at_most: int = Field(default=10, ge=1, description="members of its front to train, spread from the cheap to the costly end")


def _is_no_switch(setting: Any) -> Any:
    """Refuses words that are meant to turn the cache on or off, such as `yes`: YAML 1.2 reads them as text, so as a folder."""
    if isinstance(setting, str) and setting.lower() in ("true", "false", "yes", "no", "on", "off", "none"):
        raise PydanticCustomError(
            "evaluation_cache",
            "'{word}' is not allowed. Allowed: true, false, or a folder (for a folder of that name: ./{word})",
            {"word": setting},
        )
    return setting


class SearchConfig(BaseModel):
    """How many candidates are trained, and who proposes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: Annotated[int, DECIDES_NOTHING] = Field(
        default=100, ge=1, description="trainings to start, published designs included"
    )
    sampler: Annotated[str, OneOf("sampler", (AUTO, *SAMPLERS.names()))] = Field(
        default=AUTO,
        description="what proposes the candidates. auto: known_cost for one accuracy and known costs, else tpe. known_cost: "
        "models accuracy alone, since costs are known. grid: every architecture of a small space. The others are Optuna's; "
        "see docs/samplers.md",
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
    start_from: Annotated[str, Field(min_length=1)] | StartFrom | None = Field(
        default=None,
        description="another study (its name, its folder, or latest) whose front is trained first, mapped into this space; "
        "see docs/reuse.md",
    )
    evaluation_cache: Annotated[bool | Annotated[str, Field(min_length=1)], BeforeValidator(_is_no_switch), DECIDES_NOTHING] = (
        Field(
            default=False,
            description="replay what any study has trained in the very same way, and keep what this one trains. true: in a "
            "folder of your user account. A path: in that folder. See docs/reuse.md",
        )
    )
    stop: Annotated[StopConfig, DECIDES_NOTHING] = Field(default=StopConfig(), description="budgets beside trials")

    def sampler_for(self, objectives: Iterable[str]) -> str:
        """The sampler of a search with these objectives: as set, or what auto comes to."""
        return automatic_sampler(objectives) if self.sampler == AUTO else self.sampler

    @property
    def warm_start(self) -> StartFrom | None:
        """`start_from` in its long form."""
        return StartFrom(run=self.start_from) if isinstance(self.start_from, str) else self.start_from

    def resolved(self, base: Path, moved: Callable[[str], str] = str) -> SearchConfig:
        """The same settings with the cache's folder, where it is given, taken from `base`, the folder of the YAML file.

        moved: from where it was to where it is.
        """
        if isinstance(self.evaluation_cache, bool):
            return self
        folder = base.absolute() / Path(self.evaluation_cache).expanduser()
        return self.model_copy(update={"evaluation_cache": moved(str(folder))})

    @model_validator(mode="after")
    def _goes_with_early_stopping(self) -> SearchConfig:
        if self.scheduler.kind == "none" or self.sampler == AUTO:
            return self
        if not SAMPLERS[self.sampler].goes_with_early_stopping:
            others = ", ".join(name for name in SAMPLERS if SAMPLERS[name].goes_with_early_stopping)
            raise PydanticCustomError(
                "sampler",
                "{sampler} learns from complete trials alone, and would propose again and again what scheduler {kind} stops. "
                "Early stopping goes with {others}",
                {"at": ("sampler",), "sampler": self.sampler, "kind": self.scheduler.kind, "others": others},
            )
        return self
