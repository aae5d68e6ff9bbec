"""Global Context block (Cao et al., arXiv 1904.11492, equation 5 and figure 4d), after the authors' published code.

Departures: the 1x1 convolution of the context model has no bias, which the softmax would take off again; the hidden width is at
least 4, since layer norm makes one value its bias and two little more than a sign. Neither changes a published network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cbam_search.attention.identity_start import make_constant


class GlobalContext(nn.Module):
    """x + transform(sum over the pixels of softmax(conv(x)) * x): one value a channel, added to every pixel.

    x: (N, C, H, W) of any H and W, to the same shape. The transform is Linear to max(4, C // reduction_ratio), layer norm,
    ReLU, Linear back to C. Its last layer starts from zeros, so that the block starts as the identity; the convolution starts
    from a Kaiming normal by fan-in, all else as PyTorch's defaults, as the authors'.
    """

    def __init__(self, channels: int, reduction_ratio: int = 16) -> None:
        super().__init__()
        hidden = max(4, channels // reduction_ratio)
        self.mask = nn.Conv2d(channels, 1, 1, bias=False)
        last = nn.Linear(hidden, channels)
        self.transform = nn.Sequential(nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(inplace=True), last)
        nn.init.kaiming_normal_(self.mask.weight, mode="fan_in")
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2)  # (N, C, H * W)
        weight = self.mask(x).flatten(2).softmax(2)  # (N, 1, H * W)
        # Either order gives the same product; that which suits the memory order of x is several times as fast.
        if x.is_contiguous(memory_format=torch.channels_last):
            context = torch.bmm(weight, pixels.transpose(1, 2)).squeeze(1)  # (N, C)
        else:
            context = torch.bmm(pixels, weight.transpose(1, 2)).squeeze(2)
        added: Tensor = self.transform(context)
        return x + added[:, :, None, None].to(x.dtype)

    def start_as_identity(self) -> float:
        """Give the module the weights that multiply its input by one constant, its first ones; returns that constant, 1."""
        make_constant(self.transform[-1], 0.0)
        return 1.0
