"""The YAML section `latency`: which device a latency is for, and of what."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LatencyConfig(BaseModel):
    """What latency_ms means; needed where it is an objective or a constraint. See docs/latency.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(
        min_length=1, description="cpu (any processor), cuda (any GPU), or part of the device's name, such as H100 or EPYC"
    )
    batch_size: int = Field(default=1, ge=1, le=65_536, description="images of one forward pass")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="type of weights and images; exported networks are float32"
    )
    pairs: int = Field(
        default=50, ge=5, le=10_000, description="times that the candidate and the reference network are timed in turn"
    )
