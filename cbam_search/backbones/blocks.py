"""Residual blocks with attention (He et al., arXiv 1512.03385; grouped: Xie et al., arXiv 1611.05431).

Attention sits where the SE paper compares it: at the end of the branch (as in the SE and CBAM papers), before the branch, at
the end of the shortcut, or after the block. Modules are named as torchvision names them, with attention under the names of its
places. Convolutions start from a Kaiming normal by fan-out, batch norms from weight 1 and bias 0, the last of a branch too, as
published.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cbam_search.backbones.convolution import convolution


class BasicBlock(nn.Module):
    """Two 3x3 convolutions. x: (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    stride_at: which convolution carries the stride, 0 or 1. shortcut: identity, projection or padding. pre, branch_end,
    identity, post: attention at these places.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        stride_at: int = 0,
        shortcut: str = "identity",
        pre: nn.Module | None = None,
        branch_end: nn.Module | None = None,
        identity: nn.Module | None = None,
        post: nn.Module | None = None,
    ) -> None:
        super().__init__()
        strides = [stride if index == stride_at else 1 for index in range(2)]
        self.conv1 = convolution(in_channels, mid_channels, 3, strides[0])
        self.bn1 = nn.BatchNorm2d(mid_channels)
        self.conv2 = convolution(mid_channels, out_channels, 3, strides[1])
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.pre, self.branch_end = pre or nn.Identity(), branch_end or nn.Identity()
        self.identity, self.post = identity or nn.Identity(), post or nn.Identity()
        self.downsample = build_shortcut(shortcut, in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(self.pre(x))))
        out = self.branch_end(self.bn2(self.conv2(out)))
        out += self.identity(self.downsample(x))
        activated: Tensor = self.post(self.relu(out))
        return activated


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions. x: (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

    stride_at: which convolution carries the stride: 0 as published (v1), 1 as in torchvision (v1.5). groups: of the 3x3.
    shortcut: identity, projection or padding. pre, branch_end, identity, post: attention at these places.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        stride_at: int = 0,
        groups: int = 1,
        shortcut: str = "identity",
        pre: nn.Module | None = None,
        branch_end: nn.Module | None = None,
        identity: nn.Module | None = None,
        post: nn.Module | None = None,
    ) -> None:
        super().__init__()
        strides = [stride if index == stride_at else 1 for index in range(3)]
        self.conv1 = convolution(in_channels, mid_channels, 1, strides[0])
        self.bn1 = nn.BatchNorm2d(mid_channels)
        self.conv2 = convolution(mid_channels, mid_channels, 3, strides[1], groups)
        self.bn2 = nn.BatchNorm2d(mid_channels)
        self.conv3 = convolution(mid_channels, out_channels, 1, strides[2])
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.pre, self.branch_end = pre or nn.Identity(), branch_end or nn.Identity()
        self.identity, self.post = identity or nn.Identity(), post or nn.Identity()
        self.downsample = build_shortcut(shortcut, in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(self.pre(x))))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.branch_end(self.bn3(self.conv3(out)))
        out += self.identity(self.downsample(x))
        activated: Tensor = self.post(self.relu(out))
        return activated


class PaddingShortcut(nn.Module):
    """Option A of He et al.: every stride-th pixel, and zeros for the channels that are new."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))

    def extra_repr(self) -> str:
        return f"new_channels={self.new_channels}, stride={self.stride}"


def build_shortcut(kind: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """`projection` is a 1x1 convolution with batch norm (option B of He et al.)."""
    if kind == "projection":
        return nn.Sequential(convolution(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))
    if kind == "padding":
        return PaddingShortcut(out_channels - in_channels, stride)
    return nn.Identity()
