"""Squeeze-and-Excitation (Hu et al., arXiv 1709.01507): a channel gate fed by average pooling alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec, canonical_reduction_ratio


class SeSpec(AttentionSpec):
    """SE at one site; the published ratio is 16."""

    kind: Literal["se"] = "se"
    reduction_ratio: int = Field(default=16, ge=1)

    def canonical(self, channels: int) -> SeSpec:
        return SeSpec(reduction_ratio=canonical_reduction_ratio(channels, self.reduction_ratio))


ATTENTION_KINDS.register("se", SeSpec)
