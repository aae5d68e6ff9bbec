"""Global Context block (Cao et al., arXiv 1904.11492): what attention pools from all pixels is added to every pixel."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec, canonical_reduction_ratio

NARROWEST = 4
"""Least hidden width: layer norm makes one value its bias and two little more than a sign."""


class GlobalContextSpec(AttentionSpec):
    """GC at one site; the published ratio is 16, the hidden width max(4, C // r)."""

    kind: Literal["gc"] = "gc"
    reduction_ratio: int = Field(default=16, ge=1)

    def canonical(self, channels: int) -> GlobalContextSpec:
        return GlobalContextSpec(reduction_ratio=canonical_reduction_ratio(channels, self.reduction_ratio, NARROWEST))


ATTENTION_KINDS.register("gc", GlobalContextSpec)
