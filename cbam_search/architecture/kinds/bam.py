"""Bottleneck Attention Module (Park et al., arXiv 1807.06514): a channel and a spatial branch, added up in one gate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec, canonical_reduction_ratio
from cbam_search.architecture.geometry import Site


class BamSpec(AttentionSpec):
    """BAM at one site; published: r = 16 and 3x3 convolutions of dilation 4."""

    kind: Literal["bam"] = "bam"
    reduction_ratio: int = Field(default=16, ge=1)
    dilation: int = Field(default=4, ge=1)

    def canonical(self, channels: int) -> BamSpec:
        return BamSpec(reduction_ratio=canonical_reduction_ratio(channels, self.reduction_ratio), dilation=self.dilation)

    @classmethod
    def published_sites(cls, sites: Iterable[Site], default_position: str) -> tuple[Site, ...]:
        """The ends of all stages but the last; in a backbone without stages, the default position."""
        ends = [site for site in sites if "stage_end" in site.positions]
        return tuple(ends[:-1]) or super().published_sites(sites, default_position)


ATTENTION_KINDS.register("bam", BamSpec)
