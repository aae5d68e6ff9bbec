"""The spatial gate of CBAM (Woo et al., arXiv 1807.06521, section 3, equation 3), after the authors' published code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cbam_search.attention.identity_start import OPEN, gate_value, make_constant
from cbam_search.attention.pooling import pool


class SpatialGate(nn.Module):
    """x * sigmoid(batch_norm(conv(descriptor(x)))): a weight a pixel.

    x: (N, C, H, W) of any H and W, to the same shape. spatial_descriptor: `pooled`, maximum and mean over channels, as
    published; or `conv`, one map by a learned 1x1 convolution (the paper's table 2). The convolutions have no bias; the batch
    norm has momentum 0.01, as the authors' does. As in the authors' ResNet, convolutions start from a Kaiming normal by fan-out
    and the batch norm from a weight of zero, so that at first every pixel is weighted alike.
    """

    def __init__(self, channels: int, kernel_size: int = 7, spatial_descriptor: str = "pooled") -> None:
        super().__init__()
        is_pooled = spatial_descriptor == "pooled"
        self.squeeze = None if is_pooled else nn.Conv2d(channels, 1, 1, bias=False)
        self.conv = nn.Conv2d(2 if is_pooled else 1, 1, kernel_size, padding=(kernel_size - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)
        for conv in (self.squeeze, self.conv):
            if conv is not None:
                nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight(x)

    def weight(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) to (N, 1, H, W)."""
        return torch.sigmoid(self.bn(self.conv(self.descriptor(x)))).to(x.dtype)

    def start_as_identity(self) -> float:
        """Give the module the weights that multiply its input by one constant; returns that constant."""
        make_constant(self.bn, OPEN)
        return gate_value()

    def descriptor(self, x: Tensor) -> Tensor:
        """What the convolution sees: (N, 2, H, W), or (N, 1, H, W) of a learned one."""
        if self.squeeze is not None:
            learned: Tensor = self.squeeze(x)
            return learned
        largest, mean = pool(x.flatten(2), 1, ("max", "avg"))  # (N, H * W) each
        # Stacked last and viewed channels first: the backward pass of this convolution is twice as fast in channels_last.
        return torch.stack((largest, mean), dim=-1).view(-1, *x.shape[2:], 2).permute(0, 3, 1, 2)
