"""How attention starts where it is put into trained weights: so that it multiplies its input by one constant.

A gate of a sigmoid does so when the last layer before it has weights of zero; its bias then says how open the gate is. Only
that layer is changed: those before it keep their first weights, and learn as soon as it has left zero.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

OPEN = 5.0
"""What the sigmoid of an open gate is given. sigmoid(5) = 0.9933 is near enough to 1, and its slope, 0.0066, is small and not
yet dead: at 10 the gate would be at 0.99995 and learn 150 times as slowly.
"""


def make_constant(layer: nn.Module, answer: float) -> None:
    """Make a layer with weight and bias (linear, convolution, batch norm) return `answer` for every input."""
    assert isinstance(layer.weight, Tensor)
    assert isinstance(layer.bias, Tensor)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, answer)


def gate_value(logit: float = OPEN) -> float:
    """What a gate multiplies by: the sigmoid of `logit`, by default that of an open gate."""
    return 1.0 / (1.0 + math.exp(-logit))
