"""Efficient Channel Attention (Wang et al., arXiv 1910.03151): a channel gate by a convolution over neighbouring channels."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator

from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec


class EcaSpec(AttentionSpec):
    """ECA at one site. `auto` is the paper's kernel size by the number of channels (equation 12); else an odd size."""

    kind: Literal["eca"] = "eca"
    eca_kernel_size: int | Literal["auto"] = Field(default="auto")

    @field_validator("eca_kernel_size")
    @classmethod
    def _odd(cls, size: int | Literal["auto"]) -> int | Literal["auto"]:
        if size != "auto" and (size < 1 or size % 2 == 0):
            raise ValueError(f"eca_kernel_size must be 'auto' or odd and at least 1; found {size}")
        return size

    def canonical(self, channels: int) -> EcaSpec:
        """The size in numbers; what reaches over more than all channels would only meet padding there."""
        size = adaptive_kernel_size(channels) if self.eca_kernel_size == "auto" else self.eca_kernel_size
        return EcaSpec(eca_kernel_size=min(size, 2 * channels - 1))


def adaptive_kernel_size(channels: int) -> int:
    """The odd number nearest to log2(C) / 2 + 1 / 2, the larger one of two: gamma = 2 and b = 1 in equation 12."""
    return 2 * int((math.log2(channels) + 1) / 4) + 1


ATTENTION_KINDS.register("eca", EcaSpec)
