"""An operation counts the same however it is spelled."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cbam_search.cost.counting import count_operations

SHAPE = (2, 3, 4, 5)


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "pooling",
    [
        lambda x: x.mean((2, 3)),
        lambda x: x.flatten(2).mean(2),
        lambda x: x.sum((2, 3)),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.avg_pool2d(x, (4, 5)),
        lambda x: x.amax((2, 3)),
        lambda x: x.flatten(2).max(2).values,
        lambda x: F.max_pool2d(x, (4, 5)),
        lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: torch.linalg.vector_norm(x, dim=(2, 3)),
    ],
)
def test_global_pooling_reads_every_entry_once(pooling):
    assert count_operations(Function(pooling), SHAPE) == {"pooling": 2 * 3 * 4 * 5}


@pytest.mark.parametrize(
    "linear",
    [lambda x: F.linear(x, torch.ones(7, 5)), lambda x: x @ torch.ones(5, 7), lambda x: torch.matmul(x, torch.ones(5, 7))],
)
def test_linear_layers_count_multiply_adds(linear):
    assert count_operations(Function(linear), SHAPE)["linear"] == 2 * 3 * 4 * 5 * 7


@pytest.mark.parametrize(
    "function", [F.relu, torch.sigmoid, F.hardswish, lambda x: x * x, lambda x: x + x, lambda x: x.clone().relu_()]
)
def test_elementwise_functions_count_entries_written(function):
    assert count_operations(Function(function), SHAPE) == {"elementwise": 2 * 3 * 4 * 5}


def test_softmax_counts_as_exp_sum_and_division():
    def spelled(x):
        energies = x.exp()
        return energies / energies.sum(-1, keepdim=True)

    assert count_operations(Function(lambda x: x.softmax(-1)), SHAPE) == count_operations(Function(spelled), SHAPE)


def test_addcmul_counts_as_multiplication_and_addition():
    fused = count_operations(Function(lambda x: torch.addcmul(x, x, x)), SHAPE)
    assert fused == count_operations(Function(lambda x: x + x * x), SHAPE) == {"elementwise": 2 * 2 * 3 * 4 * 5}


def test_layer_norm():
    assert count_operations(nn.LayerNorm(5), SHAPE) == {"layer_norm": 5 * 2 * 3 * 4 * 5}


def test_sizes_are_not_counted():
    assert not count_operations(Function(lambda x: x.reshape(x.shape[0], x.shape[1] * x.shape[2], -1)), SHAPE)


def test_grouped_convolution():
    conv = nn.Conv2d(4, 8, 3, groups=2, bias=False)
    assert count_operations(conv, (1, 4, 6, 6)) == {"convolution": 16 * 8 * 2 * 9}
