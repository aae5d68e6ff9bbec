"""Efficient Channel Attention (Wang et al., arXiv 1910.03151, equations 9 and 12), after the authors' published code.

Departure: taps that reach beyond all channels are left out, since they would only ever meet padding. The authors' trained
ResNets set the kernel sizes of their stages by hand; `auto` is the paper's formula at every site.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cbam_search.attention.identity_start import gate_value
from cbam_search.attention.pooling import pool


class ECA(nn.Module):
    """x * sigmoid(conv(mean(x))): a weight a channel, by a convolution over neighbouring channels.

    x: (N, C, H, W) of any H and W, to the same shape. eca_kernel_size: odd, or `auto`: the odd number nearest to
    (log2(C) + 1) / 2, the larger one of two. The convolution has no bias and starts as PyTorch's default.
    """

    def __init__(self, channels: int, eca_kernel_size: int | str = "auto") -> None:
        super().__init__()
        adaptive = 2 * int((math.log2(channels) + 1) / 4) + 1
        size = min(adaptive if eca_kernel_size == "auto" else int(eca_kernel_size), 2 * channels - 1)
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (mean,) = pool(x.flatten(2), 2, ("avg",))  # (N, C)
        weight = torch.sigmoid(self.conv(mean.unsqueeze(1))).squeeze(1)  # (N, C)
        return x * weight[:, :, None, None].to(x.dtype)

    def start_as_identity(self) -> float:
        """Give the module the weights that multiply its input by one constant; returns that constant.

        The convolution has no bias that could open the gate: half is what is left.
        """
        nn.init.zeros_(self.conv.weight)
        return gate_value(0.0)
