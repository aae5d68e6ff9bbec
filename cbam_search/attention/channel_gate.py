"""The channel gate of CBAM (Woo et al., arXiv 1807.06521, section 3, equation 2), after the authors' published code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cbam_search.attention.pooling import pool


class ChannelGate(nn.Module):
    """x * sigmoid(sum of mlp(pool(x)) over the pools): a weight a channel.

    x: (N, C, H, W) of any H and W, to the same shape. The MLP is shared by the pools: Linear to max(1, C // reduction_ratio),
    ReLU, Linear back to C, with biases. pools: any of avg, max, lp, lse; a repeated one counts once. Weights start as PyTorch's
    defaults and biases as zeros, as in the authors' ResNet.
    """

    def __init__(self, channels: int, reduction_ratio: int = 16, pools: tuple[str, ...] = ("avg", "max")) -> None:
        super().__init__()
        hidden = max(1, channels // reduction_ratio)
        self.pools = tuple(dict.fromkeys(pools))
        squeeze, excite = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        nn.init.zeros_(squeeze.bias)
        nn.init.zeros_(excite.bias)
        self.mlp = nn.Sequential(squeeze, nn.ReLU(inplace=True), excite)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack(pool(x.flatten(2), 2, self.pools))  # (pools, N, C)
        weight = torch.sigmoid(self.mlp(pooled).sum(0))  # (N, C)
        return x * weight[:, :, None, None].to(x.dtype)

    def extra_repr(self) -> str:
        return f"pools={self.pools}"
