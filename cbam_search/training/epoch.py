"""One epoch of a training, as it is reported, recorded and read again; torch is not needed for it."""

from __future__ import annotations

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass


# Null would not be read back as a number: NaN is written as NaN.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", ser_json_inf_nan="constants"))
class Epoch:
    """What an epoch came to.

    epoch: from 1.
    metrics: train_loss (the mean over the epoch's images, with label smoothing, while the weights change), validation_loss
    (plain cross entropy), learning_rate (of the last step), and every trained metric of `cbam_search.metrics`.
    seconds: of training and evaluation.
    processor_seconds: the same as processor time, so that waiting for a busy core does not count; None where not taken.
    """

    epoch: int
    metrics: dict[str, float]
    seconds: float
    processor_seconds: float | None = None


EPOCH: TypeAdapter[Epoch] = TypeAdapter(Epoch)
