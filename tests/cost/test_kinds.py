"""Operations of every attention kind at its published settings, counted by hand: no operator of theirs goes uncounted."""

from __future__ import annotations

import pytest
import torch

from cbam_search.architecture import ATTENTION_KINDS
from cbam_search.attention.registry import build_attention
from cbam_search.cost.counting import count_operations

C, H, W = 64, 6, 5
MAP, GATE = C * H * W, C
"""Entries of the feature map; a gate a channel has an entry each."""
MLP = 2 * C * 4
"""A hidden layer of 64 // 16 units."""


def operations(kind: str) -> dict[str, int]:
    """Convolution and linear in multiply-adds; pooling in entries read; elementwise in entries written."""
    match kind:
        case "se":
            # The sum over the pools is a sum over one; ReLU of 4, the sigmoid, and the product with the map.
            return {"linear": MLP, "pooling": MAP + GATE, "elementwise": 4 + GATE + MAP}
        case "cbam":
            # Two pools into the gate, two more into the spatial convolution; each gate multiplies the map.
            return {
                "linear": 2 * MLP,
                "convolution": 2 * 7 * 7 * H * W,
                "batch_norm": 2 * H * W,
                "pooling": 4 * MAP + 2 * GATE,
                "elementwise": 2 * 4 + GATE + H * W + 2 * MAP,
            }
        case "eca":
            return {"convolution": 3 * C, "pooling": MAP, "elementwise": GATE + MAP}
        case "bam":
            # Layers to and from 4 units, the spatial ones with two 3x3 between; batch norms after all but the last.
            return {
                "linear": MLP,
                "convolution": (C * 4 + 2 * 9 * 4 * 4 + 4) * H * W,
                "batch_norm": 2 * (4 + 3 * 4 * H * W),
                "pooling": MAP,
                # ReLUs; the sum of the branches, its sigmoid, and x + x * gate, each of the size of the map.
                "elementwise": 4 + 3 * 4 * H * W + 4 * MAP,
            }
        case "gc":
            # The mask; the softmax, of exp, sum and division; the weighted sum of all pixels, which is a product of matrices.
            return {
                "convolution": MAP,
                "linear": MAP + MLP,
                "layer_norm": 5 * 4,
                "pooling": H * W,
                "elementwise": 2 * H * W + 4 + MAP,
            }
        case "coordinate":
            # Means of rows and columns; a layer of 8 units before, and one gate each after; h-swish, sigmoids, two products.
            return {
                "convolution": 2 * C * 8 * (H + W),
                "batch_norm": 2 * 8 * (H + W),
                "pooling": 2 * MAP,
                "elementwise": 8 * (H + W) + C * (H + W) + 2 * MAP,
            }
    raise AssertionError(f"count the operations of {kind} by hand")


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_operations(kind):
    with torch.device("meta"):
        module = build_attention(ATTENTION_KINDS[kind].model_validate({"kind": kind}), C)
    found = count_operations(module, (1, C, H, W))
    assert found.counts == operations(kind)
    assert not found.unknown
