"""What a worker is asked to do, and what it reports: small, plain, and as JSON for whoever carries it."""

from __future__ import annotations

from dataclasses import field

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from cbam_search.architecture import Architecture
from cbam_search.metrics import Measured
from cbam_search.records.trials import Outcome
from cbam_search.training.epoch import Epoch


@dataclass(frozen=True)
class EvaluationTask:
    """A training to be done. evaluation: its id within the study. seed: of weights, batch order and augmentation."""

    evaluation: str
    architecture: Architecture
    seed: int

    def __str__(self) -> str:
        return f"training {self.architecture.label} with seed {self.seed}"


# Null would not be read back as a number: NaN is written as NaN.
@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="constants"))
class WorkerReport:
    """What came of one step.

    epoch: the epoch that was trained; None where none was.
    measured: of the architecture, before its training.
    waits: what it has waited for in vain so far, behind `waits for`; None where it did something.
    outcome: how the evaluation ended; None while it goes on.
    problem: why the driver could not keep what was handed over. The evaluation is then neither ended nor lost: it goes on from
    the last checkpoint that the driver has.
    """

    epoch: Epoch | None = None
    measured: dict[str, Measured] = field(default_factory=dict)
    outcome: Outcome | None = None
    problem: str | None = None
    waits: str | None = None

    @property
    def ended(self) -> bool:
        """Whether no further step follows."""
        return self.outcome is not None or self.problem is not None


TASK: TypeAdapter[EvaluationTask] = TypeAdapter(EvaluationTask)
REPORT: TypeAdapter[WorkerReport] = TypeAdapter(WorkerReport)
