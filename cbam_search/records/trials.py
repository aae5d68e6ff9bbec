"""A trial: one decision of the search to evaluate a candidate, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from cbam_search.architecture import Architecture
from cbam_search.metrics import Measured, binomial_error
from cbam_search.safe_text import presentable


class TrialState(StrEnum):
    """Where a trial stands; only `complete` trials can be on the front."""

    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"
    INFEASIBLE = "infeasible"
    DUPLICATE = "duplicate"


class Origin(StrEnum):
    """Who proposed the candidate."""

    PUBLISHED = "published"
    SAMPLER = "sampler"
    ENUMERATION = "enumeration"
    WARM_START = "warm_start"
    """Taken from another study's front; like published designs never stopped early."""


class Candidate(BaseModel):
    """An architecture proposed for training, and what it costs. gflops: 1e9 multiply-adds of convolutions and linear layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture
    gflops: float
    params: int
    origin: Origin
    in_space: bool = True

    @property
    def digest(self) -> str:
        return self.architecture.digest

    @property
    def label(self) -> str:
        return self.architecture.label


class ReplayedFrom(BaseModel):
    """The training that a result was taken from, by way of the evaluation cache."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    study_id: str
    trial: int


class Outcome(BaseModel):
    """How a training ended.

    metrics: those of the last epoch trained, and what was measured before it, each with its error.
    values: one an objective, for complete trials alone.
    epochs, seconds: of the training, also where another study trained it.
    replayed_from: whose training this was, where it was not this trial's own.
    numerics_version: of the code that trained, see `cbam_search.training.numerics`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    state: TrialState
    metrics: dict[str, Measured] = {}
    values: dict[str, float] | None = None
    epochs: int = 0
    seconds: float = 0.0
    reason: Annotated[str, AfterValidator(presentable)] | None = None
    duplicate_of: int | None = None
    replayed_from: ReplayedFrom | None = None
    numerics_version: int = 1

    @model_validator(mode="before")
    @classmethod
    def _plain_numbers(cls, given: Any) -> Any:
        """Numbers without their errors: as version 0.1 wrote them, with a latency's spread beside it."""
        if not isinstance(given, dict) or not isinstance(given.get("metrics"), Mapping):
            return given
        return {**given, "metrics": with_spreads(given["metrics"])}

    def value(self, name: str) -> float | None:
        """Of a metric; None where there is none."""
        return self.metrics[name].value if name in self.metrics else None

    def with_errors(self, images: int) -> Outcome:
        """The same with the binomial error of an accuracy that came without one, on so many validation images."""
        known = self.metrics.get("accuracy")
        if known is None or known.standard_error is not None or images < 1:
            return self
        error = binomial_error(known.value, images) if 0.0 <= known.value <= 1.0 else None
        accuracy = Measured(value=known.value, standard_error=error, n=images)
        return self.model_copy(update={"metrics": {**self.metrics, "accuracy": accuracy}})


def with_spreads(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics whose errors stand beside them, as in `latency_ms: 3.0, latency_spread_ms: 0.1`, as values with errors."""
    spreads = {name.replace("_spread_", "_"): value for name, value in metrics.items() if "_spread_" in name}
    return {
        name: {"value": value, "standard_error": spreads[name]} if name in spreads else value
        for name, value in metrics.items()
        if "_spread_" not in name
    }


def evaluation_id(digest: str, seed: int) -> str:
    """Names a training within its study, where recipe, data and start are the same for all: `3f2a9c0d1e4b5a67-s0`."""
    return f"{digest[:16]}-s{seed}"


@dataclass(frozen=True)
class Trial:
    """A candidate and, once it ended, its outcome.

    number: Optuna's; numbers have gaps where nothing was trained.
    attempts: trainings started; 0 for a proposal that was skipped, above 1 where a worker or driver died.
    evaluations: ids of the trainings that it goes by, the search's own first; none for a skipped proposal.
    """

    number: int
    candidate: Candidate
    outcome: Outcome | None = None
    attempts: int = 1
    evaluations: tuple[str, ...] = ()

    @property
    def state(self) -> TrialState:
        return self.outcome.state if self.outcome else TrialState.RUNNING

    @property
    def evaluation(self) -> str:
        """The id of the training that the search itself had."""
        return self.evaluations[0] if self.evaluations else evaluation_id(self.candidate.digest, 0)

    @property
    def was_trained(self) -> bool:
        """Whether a training was started, or replayed in its place: these are what `trials` in the YAML counts."""
        return self.attempts > 0

    @property
    def replayed_from(self) -> ReplayedFrom | None:
        return self.outcome.replayed_from if self.outcome else None

    @property
    def values(self) -> dict[str, float] | None:
        return self.outcome.values if self.outcome else None

    @property
    def is_published(self) -> bool:
        """Whether it is a published design, whoever proposed it."""
        return self.candidate.origin is Origin.PUBLISHED or self.candidate.architecture.published_name is not None
