"""Convolutional Block Attention Module (Woo et al., arXiv 1807.06521): a channel gate and a spatial gate.

The paper does not say how the gates of its parallel arrangement (table 3) come together; here both weights come from the same
map and multiply it, so that the arrangements differ in what each gate sees alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from cbam_search.attention.channel_gate import ChannelGate
from cbam_search.attention.spatial_gate import SpatialGate


class CBAM(nn.Module):
    """CBAM of one feature map. x: (N, C, H, W), to the same shape.

    order: `channel_first` as published, `spatial_first`, or `parallel`. spatial_kernel_size=None leaves the spatial gate out,
    as the authors' `no_spatial` does. The rest as of the gates.
    """

    def __init__(
        self,
        channels: int,
        reduction_ratio: int = 16,
        pools: tuple[str, ...] = ("avg", "max"),
        spatial_kernel_size: int | None = 7,
        order: str = "channel_first",
        spatial_descriptor: str = "pooled",
        channel_mlp: str = "shared",
    ) -> None:
        super().__init__()
        self.order = order
        self.channel_gate = ChannelGate(channels, reduction_ratio, pools, channel_mlp)
        self.spatial_gate: SpatialGate | None = None
        if spatial_kernel_size is not None:
            self.spatial_gate = SpatialGate(channels, spatial_kernel_size, spatial_descriptor)

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor
        if self.spatial_gate is None:
            gated = self.channel_gate(x)
        elif self.order == "parallel":
            gated = x * self.channel_gate.weight(x) * self.spatial_gate.weight(x)
        elif self.order == "spatial_first":
            gated = self.channel_gate(self.spatial_gate(x))
        else:
            gated = self.spatial_gate(self.channel_gate(x))
        return gated

    def start_as_identity(self) -> float:
        """Give the module the weights that multiply its input by one constant; returns that constant."""
        kept = self.channel_gate.start_as_identity()
        return kept if self.spatial_gate is None else kept * self.spatial_gate.start_as_identity()

    def extra_repr(self) -> str:
        return f"order={self.order}"
