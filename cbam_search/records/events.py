"""What happens in a study, one frozen model an event; the ledger keeps them in order.

Displays, MLflow, budgets and schedulers derive from these alone, through one fold: `cbam_search.records.view`. An event may
come twice after a crash: the fold keys it by trial or evaluation, and by epoch where there is one.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.trials import Candidate, Outcome, with_spreads
from cbam_search.safe_text import presentable


class _Event(BaseModel):
    # Null would not be read back as a number: NaN is written as NaN.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    time_seconds: float = Field(default_factory=time.time)


class StudyOpened(_Event):
    """A driver took charge: at launch, and again at each resume."""

    event: Literal["study_opened"] = "study_opened"
    resumed: bool
    numerics_version: int = 1


class StudyExtended(_Event):
    """The study goes on beyond its budget. trials, hours: in all, from now on; hours None: without limit."""

    event: Literal["study_extended"] = "study_extended"
    trials: int
    hours: float | None


class TrialStarted(_Event):
    """A training was started, or started again (attempt above 1) after its worker or driver died.

    seed: of the training. anew: whether it begins again at its first epoch although epochs of it are recorded, which do not
    count any more. died: why its last worker died; None where it has lost none, or its driver.
    """

    event: Literal["trial_started"] = "trial_started"
    trial: int
    attempt: int
    candidate: Candidate
    label: str
    digest: str
    parameters: dict[str, str | int | float]
    seed: int | None = None
    anew: bool = False
    died: Annotated[str, AfterValidator(presentable)] | None = None


class TrialWaits(_Event):
    """A training waits for something outside of the study, after a few seconds of it; it holds until the trial's next event.

    why: what for, behind `waits for`; None: it goes on.
    """

    event: Literal["trial_waits"] = "trial_waits"
    trial: int
    why: Annotated[str, AfterValidator(presentable)] | None


class TrialSkipped(_Event):
    """A proposal that needed no training: infeasible, or a duplicate."""

    event: Literal["trial_skipped"] = "trial_skipped"
    trial: int
    candidate: Candidate
    label: str
    digest: str
    outcome: Outcome


class ArchitectureMeasured(_Event):
    """What was measured of a trial's architecture before it is trained: latency_ms."""

    event: Literal["architecture_measured"] = "architecture_measured"
    trial: int
    metrics: dict[str, Measured]


class EpochFinished(_Event):
    """One epoch of one trial; metrics and seconds: see `cbam_search.training.epoch.Epoch`.

    replayed: whether it was trained by another study, in `seconds` of that one's time.
    """

    event: Literal["epoch_finished"] = "epoch_finished"
    trial: int
    attempt: int
    epoch: int
    metrics: dict[str, float]
    seconds: float
    replayed: bool = False

    @property
    def trained_metrics(self) -> dict[str, float]:
        """Without the latency, which version 0.1 wrote among the metrics of every epoch."""
        if LATENCY not in self.metrics:
            return self.metrics
        return {name: value for name, value in self.metrics.items() if not name.startswith(_LATENCY_OF_0_1)}

    @property
    def measured_metrics(self) -> dict[str, Measured]:
        """That latency; none in a ledger of today, where it is an event of its own."""
        if LATENCY not in self.metrics:
            return {}
        apart = {name: value for name, value in self.metrics.items() if name.startswith(_LATENCY_OF_0_1)}
        return {name: Measured.model_validate(value) for name, value in with_spreads(apart).items()}


_LATENCY_OF_0_1 = "latency_"


class TrialFinished(_Event):
    """A training ended, in whatever state."""

    event: Literal["trial_finished"] = "trial_finished"
    trial: int
    outcome: Outcome


class EvaluationFinished(_Event):
    """A training that is not the search's own ended: a trial's network with another seed, or one that belongs to no trial."""

    event: Literal["evaluation_finished"] = "evaluation_finished"
    evaluation: Evaluation


class WeightsRemoved(_Event):
    """Weights of these trials were removed while the study goes on, to stay within `records.keep_gib`."""

    event: Literal["weights_removed"] = "weights_removed"
    trials: tuple[int, ...]


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
    message: Annotated[str, AfterValidator(presentable)]


Event = Annotated[
    StudyOpened
    | StudyExtended
    | TrialStarted
    | TrialWaits
    | TrialSkipped
    | ArchitectureMeasured
    | EpochFinished
    | TrialFinished
    | EvaluationFinished
    | WeightsRemoved
    | FrontUpdated
    | StudyClosed,
    Field(discriminator="event"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
