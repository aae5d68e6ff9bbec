"""Squeeze-and-Excitation (Hu et al., arXiv 1709.01507, equations 2 to 4)."""

from __future__ import annotations

from cbam_search.attention.channel_gate import ChannelGate


class SE(ChannelGate):
    """The channel gate with average pooling alone. x: (N, C, H, W), to the same shape.

    The MLP has biases, as the CBAM paper's SE baselines have.
    """

    def __init__(self, channels: int, reduction_ratio: int = 16) -> None:
        super().__init__(channels, reduction_ratio, ("avg",))
