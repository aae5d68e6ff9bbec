"""Depthwise separable convolutions (MobileNet v1: Howard et al., arXiv 1704.04861, figure 3), with attention.

In the CBAM paper's MobileNets attention follows every batch norm, before its ReLU.
"""

from __future__ import annotations

from torch import Tensor, nn

from cbam_search.backbones.convolution import convolution


class SeparableBlock(nn.Module):
    """A depthwise 3x3, then a 1x1. x: (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    depthwise, pointwise, post: attention after either batch norm, and after the block.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        depthwise: nn.Module | None = None,
        pointwise: nn.Module | None = None,
        post: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, in_channels, 3, stride, groups=in_channels)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv2 = convolution(in_channels, out_channels, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.depthwise, self.pointwise = depthwise or nn.Identity(), pointwise or nn.Identity()
        self.post = post or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.depthwise(self.bn1(self.conv1(x))))
        activated: Tensor = self.post(self.relu(self.pointwise(self.bn2(self.conv2(out)))))
        return activated
