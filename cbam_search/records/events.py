"""What happens in a study, one frozen model an event; the ledger keeps them in order.

Displays, MLflow and schedulers derive from these alone. An event may come twice after a crash: its consumer keys it by trial,
and by epoch where there is one.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cbam_search.records.trials import Candidate, Outcome


class _Event(BaseModel):
    # Null would not be read back as a number: NaN is written as NaN.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    time_seconds: float = Field(default_factory=time.time)


class StudyOpened(_Event):
    """A driver took charge: at launch, and again at each resume."""

    event: Literal["study_opened"] = "study_opened"
    resumed: bool


class TrialStarted(_Event):
    """A training was started, or started again (attempt above 1) after its worker or driver died."""

    event: Literal["trial_started"] = "trial_started"
    trial: int
    attempt: int
    candidate: Candidate
    label: str
    digest: str
    parameters: dict[str, str | int | float]


class TrialSkipped(_Event):
    """A proposal that needed no training: infeasible, or a duplicate."""

    event: Literal["trial_skipped"] = "trial_skipped"
    trial: int
    candidate: Candidate
    label: str
    digest: str
    outcome: Outcome


class EpochFinished(_Event):
    """One epoch of one trial; metrics: train_loss, validation_loss, accuracy, balanced_accuracy, macro_f1, learning_rate.

    Of a study that measures latencies, latency_ms and latency_spread_ms too, the same every epoch. replayed: whether it was
    trained by another study, in `seconds` of that one's time.
    """

    event: Literal["epoch_finished"] = "epoch_finished"
    trial: int
    attempt: int
    epoch: int
    metrics: dict[str, float]
    seconds: float
    replayed: bool = False


class TrialFinished(_Event):
    """A training ended, in whatever state."""

    event: Literal["trial_finished"] = "trial_finished"
    trial: int
    outcome: Outcome


class FrontUpdated(_Event):
    """After each finished trial: who is on the front, and the hypervolume. complete: trials trained to the end so far.

    hypervolume: None while the reference of an objective is not fixed.
    """

    event: Literal["front_updated"] = "front_updated"
    front: tuple[int, ...]
    hypervolume: float | None
    changed: bool
    complete: int


class StudyClosed(_Event):
    """The driver let go. reason: what ended the study (`trials`, `hours`, `epochs` and `hypervolume` are its budgets), or what
    kept it from its end.
    """

    event: Literal["study_closed"] = "study_closed"
    reason: Literal["trials", "hours", "epochs", "hypervolume", "space_exhausted", "interrupted", "failed"]
    message: str


Event = Annotated[
    StudyOpened | TrialStarted | TrialSkipped | EpochFinished | TrialFinished | FrontUpdated | StudyClosed,
    Field(discriminator="event"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
