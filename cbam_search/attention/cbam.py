"""Convolutional Block Attention Module (Woo et al., arXiv 1807.06521): the channel gate, then the spatial gate."""

from __future__ import annotations

from torch import Tensor, nn

from cbam_search.attention.channel_gate import ChannelGate
from cbam_search.attention.spatial_gate import SpatialGate


class CBAM(nn.Module):
    """CBAM of one feature map. x: (N, C, H, W), to the same shape.

    spatial_kernel_size=None leaves the spatial gate out, as the authors' `no_spatial` does.
    """

    def __init__(
        self,
        channels: int,
        reduction_ratio: int = 16,
        pools: tuple[str, ...] = ("avg", "max"),
        spatial_kernel_size: int | None = 7,
    ) -> None:
        super().__init__()
        self.channel_gate = ChannelGate(channels, reduction_ratio, pools)
        self.spatial_gate = nn.Identity() if spatial_kernel_size is None else SpatialGate(spatial_kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = self.spatial_gate(self.channel_gate(x))
        return gated
