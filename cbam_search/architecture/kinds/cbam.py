"""Convolutional Block Attention Module (Woo et al., arXiv 1807.06521): a channel gate, then a spatial gate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec, canonical_reduction_ratio
from cbam_search.architecture.kinds.se import SeSpec

Pool = Literal["avg", "max", "lp", "lse"]
POOLS: tuple[Pool, ...] = ("avg", "max", "lp", "lse")
Order = Literal["channel_first", "spatial_first", "parallel"]
SpatialDescriptor = Literal["pooled", "conv"]
ChannelMlp = Literal["shared", "per_pool"]


class CbamSpec(AttentionSpec):
    """CBAM at one site; published: r = 16, average and max pooling, a 7x7 spatial convolution, the channel gate first.

    spatial_kernel_size: None leaves the spatial gate out, as the authors' `no_spatial` does. order: which gate comes first, or
    both from the same map (the paper's table 3). spatial_descriptor: what the spatial convolution sees, maximum and average
    over channels or a learned 1x1 convolution (table 2). channel_mlp: one for all poolings, or one for each.
    """

    kind: Literal["cbam"] = "cbam"
    reduction_ratio: int = Field(default=16, ge=1)
    pools: tuple[Pool, ...] = Field(default=("avg", "max"), min_length=1)
    spatial_kernel_size: int | None = Field(default=7, ge=1)
    order: Order = "channel_first"
    spatial_descriptor: SpatialDescriptor = "pooled"
    channel_mlp: ChannelMlp = "shared"

    @field_validator("spatial_kernel_size")
    @classmethod
    def _odd(cls, size: int | None) -> int | None:
        if size is not None and size % 2 == 0:
            raise ValueError(f"spatial_kernel_size must be odd, so that the map keeps its size; found {size}")
        return size

    def canonical(self, channels: int) -> AttentionSpec:
        """Pools in a fixed order without repeats; average pooling alone and no spatial gate is SE.

        Without a spatial gate there is no order and no descriptor; one pooling has one MLP.
        """
        ratio = canonical_reduction_ratio(channels, self.reduction_ratio)
        pools = tuple(pool for pool in POOLS if pool in self.pools)
        mlp: ChannelMlp = self.channel_mlp if len(pools) > 1 else "shared"
        if self.spatial_kernel_size is not None:
            return self.model_copy(update={"reduction_ratio": ratio, "pools": pools, "channel_mlp": mlp})
        if pools == ("avg",):
            return SeSpec(reduction_ratio=ratio)
        return CbamSpec(reduction_ratio=ratio, pools=pools, spatial_kernel_size=None, channel_mlp=mlp)


ATTENTION_KINDS.register("cbam", CbamSpec)
