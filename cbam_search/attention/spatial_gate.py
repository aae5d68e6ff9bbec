"""The spatial gate of CBAM (Woo et al., arXiv 1807.06521, section 3, equation 3), after the authors' published code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cbam_search.attention.pooling import pool


class SpatialGate(nn.Module):
    """x * sigmoid(batch_norm(conv(max and mean over channels))): a weight a pixel.

    x: (N, C, H, W) of any H and W, to the same shape. The convolution has no bias; the batch norm has momentum 0.01, as the
    authors' does. As in the authors' ResNet, the convolution starts from a Kaiming normal by fan-out and the batch norm from a
    weight of zero, so that at first every pixel is weighted alike.
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=(kernel_size - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        largest, mean = pool(x.flatten(2), 1, ("max", "avg"))  # (N, H * W) each
        # Stacked last and viewed channels first: the backward pass of this convolution is twice as fast in channels_last.
        descriptor = torch.stack((largest, mean), dim=-1).view(-1, *x.shape[2:], 2).permute(0, 3, 1, 2)
        return x * torch.sigmoid(self.bn(self.conv(descriptor))).to(x.dtype)
