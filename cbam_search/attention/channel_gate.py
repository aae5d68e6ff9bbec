"""The channel gate of CBAM (Woo et al., arXiv 1807.06521, section 3, equation 2), after the authors' published code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cbam_search.attention.identity_start import OPEN, gate_value, make_constant
from cbam_search.attention.pooling import POOLS, pool


class ChannelGate(nn.Module):
    """x * sigmoid(sum of mlp(pool(x)) over the pools): a weight a channel.

    x: (N, C, H, W) of any H and W, to the same shape. The MLP is Linear to max(1, C // reduction_ratio), ReLU, Linear back to
    C, with biases. pools: any of avg, max, lp, lse; a repeated one counts once. channel_mlp: `shared` by the pools, as
    published, or one of its own for each (`per_pool`, as Keras ports have it). Weights start as PyTorch's defaults and biases
    as zeros, as in the authors' ResNet.
    """

    def __init__(
        self, channels: int, reduction_ratio: int = 16, pools: tuple[str, ...] = ("avg", "max"), channel_mlp: str = "shared"
    ) -> None:
        super().__init__()
        hidden = max(1, channels // reduction_ratio)
        self.pools = tuple(kind for kind in POOLS if kind in pools)
        self.mlp: nn.Module
        if channel_mlp == "shared":
            self.mlp = build_mlp(channels, hidden)
        else:
            self.mlp = nn.ModuleList(build_mlp(channels, hidden) for _ in self.pools)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight(x)

    def weight(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) to (N, C, 1, 1)."""
        pooled = pool(x.flatten(2), 2, self.pools)  # (N, C) each
        if isinstance(self.mlp, nn.ModuleList):
            rated = torch.stack([mlp(values) for mlp, values in zip(self.mlp, pooled, strict=True)])
        else:
            rated = self.mlp(torch.stack(pooled))  # (pools, N, C)
        return torch.sigmoid(rated.sum(0))[:, :, None, None].to(x.dtype)

    def start_as_identity(self) -> float:
        """Give the module the weights that multiply its input by one constant; returns that constant."""
        for mlp in self.mlp if isinstance(self.mlp, nn.ModuleList) else (self.mlp,):
            assert isinstance(mlp, nn.Sequential)
            # What the MLP, or MLPs, say of each pool is added up.
            make_constant(mlp[-1], OPEN / len(self.pools))
        return gate_value()

    def extra_repr(self) -> str:
        return f"pools={self.pools}"


def build_mlp(channels: int, hidden: int) -> nn.Sequential:
    """Two layers, (N, channels) to the same shape."""
    squeeze, excite = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
    nn.init.zeros_(squeeze.bias)
    nn.init.zeros_(excite.bias)
    return nn.Sequential(squeeze, nn.ReLU(inplace=True), excite)
