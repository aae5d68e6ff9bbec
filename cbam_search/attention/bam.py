"""Bottleneck Attention Module (Park et al., arXiv 1807.06514, equations 1 to 5), with the layers of the authors' code.

The branches are added, as in the paper's equation 2; the authors' published code multiplies them. As in that code, batch norms
follow the hidden layers, where equations 3 and 4 have them at the end of each branch. Departures: no bias before a batch norm,
which would take it off again, and a hidden width of at least 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cbam_search.attention.identity_start import OPEN, gate_value, make_constant
from cbam_search.attention.pooling import pool


class BAM(nn.Module):
    """x * (1 + sigmoid(channel branch + spatial branch)): a weight for each entry.

    x: (N, C, H, W) of any H and W, to the same shape; in training mode more than one image, or the batch norm of the channel
    branch raises ValueError. Hidden width of both branches: max(1, C // reduction_ratio). dilation: of both 3x3 convolutions.
    Convolutions start from a Kaiming normal by fan-out, linear layers as PyTorch's defaults, biases as zeros, as the authors'.
    """

    def __init__(self, channels: int, reduction_ratio: int = 16, dilation: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction_ratio)
        squeeze, excite = nn.Linear(channels, hidden, bias=False), nn.Linear(hidden, channels)
        self.channel_branch = nn.Sequential(squeeze, nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), excite)
        self.spatial_branch = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, 1, 1),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        (mean,) = pool(x.flatten(2), 2, ("avg",))
        channel, spatial = self.channel_branch(mean), self.spatial_branch(x)  # (N, C), (N, 1, H, W)
        if x.is_contiguous(memory_format=torch.channels_last):
            # Of two tensors that broadcast, neither says how their sum is to lie in memory.
            both = (channel[:, None, None, :] + spatial.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            both = channel[:, :, None, None] + spatial
        return torch.addcmul(x, x, torch.sigmoid(both).to(x.dtype))

    def start_as_identity(self) -> float:
        """Give the module the weights that multiply its input by one constant; returns that constant.

        Here a gate is added to 1, so that it starts shut.
        """
        make_constant(self.channel_branch[-1], -OPEN)
        make_constant(self.spatial_branch[-1], 0.0)
        return 1.0 + gate_value(-OPEN)
