"""Where a study stands, in facts: what `cbam-search status --json` prints."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from cbam_search.records.driver import Driver
from cbam_search.records.trials import TrialState


class StudyState(StrEnum):
    """How a study is doing as a whole."""

    RUNNING = "running"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    """Stopped, or its driver was killed: `resume` goes on."""
    FAILED = "failed"
    """Ended by an error; once its cause is mended, `resume` goes on."""


class RunningTrial(BaseModel):
    """A trial in training.

    epoch: the last one recorded, 0 before the first; accuracy: of it, on the validation images.
    attempt: 1, and one more for each worker or driver that died with it. died: why its last worker died.
    waits_for: what it waits for outside of the study; None where it trains.
    """

    model_config = ConfigDict(frozen=True)

    trial: int
    label: str
    epoch: int
    accuracy: float | None
    attempt: int = 1
    died: str | None = None
    waits_for: str | None = None


class LastError(BaseModel):
    """The newest error of a study. trial: whose training failed; None where the study itself did."""

    model_config = ConfigDict(frozen=True)

    message: str
    trial: int | None
    time_seconds: float


class StudyStatus(BaseModel):
    """A study as its ledger, its manifest and its lease tell at `time_seconds`; all times in seconds since 1970.

    run: what commands take for this study, typed here.
    message: why it is not running, or that it is ending: closed, while its driver has not let go yet. None where it runs on.
    driver: who took charge last; None where no driver is known.
    driver_problem: why that cannot be told.
    trials_done, trials_allowed: trainings that ended, and how many there may be in all.
    states, skipped: how many trainings ended in each state; how many proposals needed none, by reason.
    running: trials in training now; none where nobody drives the study.
    cut_off: trainings that have begun and that nobody goes on with.
    epochs: of a training.
    seconds_left: estimate; None where nothing runs or too few epochs were timed.
    driven_seconds, hours_allowed: how long it was driven in all, and how long it may be; None without limit.
    front: trials on it, as last noted. hypervolume: None while undefined.
    best_accuracy: on the validation images, of a complete trial.
    needs_allow_code: whether `resume` and `export` need --allow-code.
    """

    model_config = ConfigDict(frozen=True)

    study: str
    run: str
    folder: str
    state: StudyState
    message: str | None
    time_seconds: float
    created_seconds: float
    driver: Driver | None
    driver_problem: str | None = None
    trials_done: int
    trials_allowed: int
    states: dict[TrialState, int]
    skipped: dict[TrialState, int]
    running: tuple[RunningTrial, ...]
    cut_off: int
    epochs: int
    seconds_left: float | None
    driven_seconds: float
    hours_allowed: float | None
    front: tuple[int, ...]
    hypervolume: float | None
    best_accuracy: float | None
    last_error: LastError | None
    needs_allow_code: bool

    @property
    def is_ending(self) -> bool:
        """Whether its driver has closed it and has not let go of it yet."""
        return self.state is StudyState.RUNNING and self.message is not None


class UnreadableStudy(BaseModel):
    """A study among others whose records cannot be read. problem: what is wrong and what to do."""

    model_config = ConfigDict(frozen=True)

    study: str
    folder: str
    problem: str
