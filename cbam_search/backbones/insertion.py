"""Puts attention after submodules of a finished network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


class WithAttention(nn.Module):
    """`module`, with `attention` on its output: whatever goes into the module, to (N, C, H, W)."""

    def __init__(self, module: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.attention = attention

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        followed: Tensor = self.attention(self.module(*inputs, **named))
        return followed


def insert_attention(network: nn.Module, attention: Iterable[tuple[str, nn.Module]]) -> nn.Module:
    """Change `network` in place, and return it: each (name, module) follows the submodule of that name.

    A named submodule may lie inside another.
    """
    # All places are looked up first: once a submodule is followed, those inside it have other names.
    places = []
    for name, module in attention:
        parent, _, child = name.rpartition(".")
        places.append((network.get_submodule(parent), child, module))
    for parent_module, child, module in places:
        setattr(parent_module, child, WithAttention(getattr(parent_module, child), module))
    return network
