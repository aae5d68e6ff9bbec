"""Coordinate Attention (Hou et al., arXiv 2103.02907, equations 4 to 9), after the authors' published code.

Departure: the shared convolution has no bias, which its batch norm would take off again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cbam_search.attention.identity_start import OPEN, gate_value, make_constant
from cbam_search.attention.pooling import pool


class CoordinateAttention(nn.Module):
    """x * g_h * g_w: a weight a row and a weight a column of each channel.

    x: (N, C, H, W) of any H and W, to the same shape. Means of the rows and of the columns share a 1x1 convolution to
    max(8, C // reduction_ratio), a batch norm and h-swish; then each has a 1x1 convolution back to C and a sigmoid.
    Convolutions start from a Kaiming normal by fan-out and biases as zeros, as in the authors' network.
    """

    def __init__(self, channels: int, reduction_ratio: int = 32) -> None:
        super().__init__()
        hidden = max(8, channels // reduction_ratio)
        squeeze = nn.Conv1d(channels, hidden, 1, bias=False)
        self.shared = nn.Sequential(squeeze, nn.BatchNorm1d(hidden), nn.Hardswish(inplace=True))
        self.rows = nn.Conv1d(hidden, channels, 1)
        self.columns = nn.Conv1d(hidden, channels, 1)
        for conv in (squeeze, self.rows, self.columns):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out")
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_contiguous(memory_format=torch.channels_last):
            rows, columns = self.gates(*pool(x, 3, ("avg",)), *pool(x, 2, ("avg",)))
            return x * rows.unsqueeze(3).to(x.dtype) * columns.unsqueeze(2).to(x.dtype)
        # In the memory order of x, since sums over rows and columns in another order take several times as long.
        pixels = x.permute(0, 2, 3, 1)
        row_means, column_means = (pool(pixels, dim, ("avg",))[0].transpose(1, 2) for dim in (2, 1))
        rows, columns = (gate.transpose(1, 2).contiguous().to(x.dtype) for gate in self.gates(row_means, column_means))
        return (pixels * rows.unsqueeze(2) * columns.unsqueeze(1)).permute(0, 3, 1, 2)

    def start_as_identity(self) -> float:
        """Give the module the weights that multiply its input by one constant; returns that constant."""
        for conv in (self.rows, self.columns):
            make_constant(conv, OPEN)
        return gate_value() ** 2

    def gates(self, row_means: Tensor, column_means: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of rows and columns. row_means: (N, C, H), column_means: (N, C, W), to the same shapes."""
        hidden = self.shared(torch.cat((row_means, column_means), dim=2))  # (N, hidden, H + W)
        rows, columns = hidden.split((row_means.shape[2], column_means.shape[2]), dim=2)
        return torch.sigmoid(self.rows(rows)), torch.sigmoid(self.columns(columns))
