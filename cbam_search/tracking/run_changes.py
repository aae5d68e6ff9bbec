"""What is to be written to one MLflow run, gathered over many events so that it takes few calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class MetricRow:
    """One value of a metric. The time comes from the event, so that writing the row again leaves one row."""

    name: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True)
class NewRun:
    """A run that is made unless it is there already."""

    name: str
    start_ms: int


@dataclass
class RunChanges:
    """status: the last one; end_ms: None while the run goes on."""

    new: NewRun | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[MetricRow] = field(default_factory=list)
    status: RunStatus | None = None
    end_ms: int | None = None

    def set_status(self, status: RunStatus, end_ms: int | None) -> None:
        self.status, self.end_ms = status, end_ms


def milliseconds(time_seconds: float) -> int:
    """MLflow's clock."""
    return int(time_seconds * 1000)
