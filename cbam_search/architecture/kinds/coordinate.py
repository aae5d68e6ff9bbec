"""Coordinate Attention (Hou et al., arXiv 2103.02907): a gate for the rows and one for the columns of each channel."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec, canonical_reduction_ratio

NARROWEST = 8
"""Least hidden width, in the authors' published code."""


class CoordinateSpec(AttentionSpec):
    """Coordinate Attention at one site; the published ratio is 32, the hidden width max(8, C // r)."""

    kind: Literal["coordinate"] = "coordinate"
    reduction_ratio: int = Field(default=32, ge=1)

    def canonical(self, channels: int) -> CoordinateSpec:
        return CoordinateSpec(reduction_ratio=canonical_reduction_ratio(channels, self.reduction_ratio, NARROWEST))


ATTENTION_KINDS.register("coordinate", CoordinateSpec)
