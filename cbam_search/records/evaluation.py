"""An evaluation: one training of one architecture with one seed, under one recipe, on one data set, from one start.

It is a fact, whoever asked for it. A study's trials refer to evaluations; the evaluation cache, tables of whole spaces and what
samplers learn from are collections of them.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cbam_search.architecture import Architecture
from cbam_search.metrics import Measured
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION

KEY_VERSION = 2
"""Raised when a key no longer means what it did: no older result is then found."""

SIGNIFICANT_DIGITS = 9
"""Of figures of the data, such as their mean: the last ones depend on the order in which a processor adds up."""


class EvaluationKey(BaseModel):
    """All that a training's result depends on; two keys of different digests have nothing in common.

    architecture: its digest, which the source of a user's own backbone enters into.
    recipe: the identity of the section `training`.
    data: fingerprint (of pixels, labels and splits), sizes of the splits, image size, channels, mean and deviation.
    weights: SHA-256 of the file that trainings start from.
    device: `cpu`, or the GPU's model.
    precision: `float32` or `mixed`.
    numerics_version: of this package's own part in it.
    versions: of what else computes: torch; on a GPU CUDA and cuDNN too.
    source: SHA-256 of the source of attention kinds that others have registered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_version: int = KEY_VERSION
    architecture: str
    recipe: dict[str, Any]
    seed: int
    data: dict[str, Any]
    weights: str | None
    device: str
    precision: str
    numerics_version: int = NUMERICS_VERSION
    versions: dict[str, str]
    source: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal, of the data's figures to SIGNIFICANT_DIGITS."""
        return _sha256(self.model_dump(mode="json") | {"data": {name: _rounded(value) for name, value in self.data.items()}})

    @property
    def digest_of_all_digits(self) -> str:
        """As files were named before."""
        return _sha256(self.model_dump(mode="json"))


def _sha256(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value


class TrainedBy(BaseModel):
    """Where and when a training took place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    study_id: str
    hardware: str = ""
    versions: dict[str, str] = {}
    time_seconds: float = Field(default_factory=time.time)


class Evaluation(BaseModel):
    """A training, from its first epoch to its end.

    architecture: None where version 0.1 kept its digest alone, which is in the key.
    key: None where nobody looks for it by what it depends on.
    trial: the number under which its study trained it; None for a training that belongs to no trial.
    measured: what was measured of the architecture before it was trained.
    epochs: in order.
    outcome: None while it runs.
    weights, predictions: SHA-256 of their files, where they were kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    architecture: Architecture | None
    seed: int
    key: EvaluationKey | None = None
    trial: int | None = None
    measured: dict[str, Measured] = {}
    epochs: tuple[Epoch, ...] = ()
    outcome: Outcome | None = None
    weights: str | None = None
    predictions: str | None = None
    trained_by: TrainedBy | None = None

    @property
    def state(self) -> TrialState:
        return self.outcome.state if self.outcome else TrialState.RUNNING

    def curve(self, name: str) -> dict[int, float]:
        """A metric by epoch, as far as it is known; that of the last epoch is known from the outcome too."""
        values = {epoch.epoch: epoch.metrics[name] for epoch in self.epochs if name in epoch.metrics}
        if self.outcome is not None and self.outcome.epochs > 0 and (last := self.outcome.value(name)) is not None:
            values.setdefault(self.outcome.epochs, last)
        return values

    def final(self, name: str) -> float | None:
        """A metric of a full training, after its last epoch; None of any other."""
        return self.outcome.value(name) if self.outcome is not None and self.state is TrialState.COMPLETE else None
