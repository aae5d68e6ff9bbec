"""Convolutional Block Attention Module (Woo et al., arXiv 1807.06521): a channel gate, then a spatial gate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec, canonical_reduction_ratio
from cbam_search.architecture.kinds.se import SeSpec

Pool = Literal["avg", "max", "lp", "lse"]
POOLS: tuple[Pool, ...] = ("avg", "max", "lp", "lse")


class CbamSpec(AttentionSpec):
    """CBAM at one site; published: r = 16, average and max pooling, a 7x7 spatial convolution.

    `spatial_kernel_size=None` leaves the spatial gate out, as the authors' `no_spatial` does.
    """

    kind: Literal["cbam"] = "cbam"
    reduction_ratio: int = Field(default=16, ge=1)
    pools: tuple[Pool, ...] = Field(default=("avg", "max"), min_length=1)
    spatial_kernel_size: int | None = Field(default=7, ge=1)

    @field_validator("spatial_kernel_size")
    @classmethod
    def _odd(cls, size: int | None) -> int | None:
        if size is not None and size % 2 == 0:
            raise ValueError(f"spatial_kernel_size must be odd, so that the map keeps its size; found {size}")
        return size

    def canonical(self, channels: int) -> AttentionSpec:
        """Pools in a fixed order without repeats; average pooling alone and no spatial gate is SE."""
        ratio = canonical_reduction_ratio(channels, self.reduction_ratio)
        pools = tuple(pool for pool in POOLS if pool in self.pools)
        if pools == ("avg",) and self.spatial_kernel_size is None:
            return SeSpec(reduction_ratio=ratio)
        return CbamSpec(reduction_ratio=ratio, pools=pools, spatial_kernel_size=self.spatial_kernel_size)


ATTENTION_KINDS.register("cbam", CbamSpec)
