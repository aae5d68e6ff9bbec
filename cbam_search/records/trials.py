"""One evaluation of one candidate, with its state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from cbam_search.architecture import Architecture


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
    """How a trial ended. metrics: those of the last epoch trained; values: one an objective, for complete trials alone.

    replayed_from: whose training this was, where it was not this trial's own; epochs and seconds are that training's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    state: TrialState
    metrics: dict[str, float] = {}
    values: dict[str, float] | None = None
    epochs: int = 0
    seconds: float = 0.0
    reason: str | None = None
    duplicate_of: int | None = None
    replayed_from: ReplayedFrom | None = None


@dataclass(frozen=True)
class Trial:
    """A candidate and, once it ended, its outcome.

    number: Optuna's; numbers have gaps where nothing was trained. attempts: trainings started, 0 for a proposal that was
    skipped and above 1 where a worker or driver died.
    """

    number: int
    candidate: Candidate
    outcome: Outcome | None = None
    attempts: int = 1

    @property
    def state(self) -> TrialState:
        return self.outcome.state if self.outcome else TrialState.RUNNING

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
