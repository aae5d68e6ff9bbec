"""An operation counts the same however it is spelled."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cbam_search.cost.counting import count_operations as traced

SHAPE = (2, 3, 4, 5)


def count_operations(module: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """Counts by operator; none of these may be unknown."""
    operations = traced(module, shape)
    assert not operations.unknown
    return operations.counts


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


def test_a_maximum_of_two_tensors_is_no_pooling():
    for function in (lambda x: torch.maximum(x, -x), lambda x: torch.max(x, -x)):
        assert count_operations(Function(function), SHAPE) == {"elementwise": 2 * 2 * 3 * 4 * 5}


@pytest.mark.parametrize(
    "linear",
    [lambda x: F.linear(x, torch.ones(7, 5)), lambda x: x @ torch.ones(5, 7), lambda x: torch.matmul(x, torch.ones(5, 7))],
)
def test_linear_layers_count_multiply_adds(linear):
    assert count_operations(Function(linear), SHAPE)["linear"] == 2 * 3 * 4 * 5 * 7


@pytest.mark.parametrize(
    "function",
    [
        *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.gelu, F.silu, F.mish, F.hardtanh, F.hardsigmoid, F.hardswish),
        *(torch.sigmoid, torch.tanh, torch.exp, torch.abs, torch.floor, F.softplus, F.logsigmoid),
        *(lambda x: x * x, lambda x: x + x, lambda x: 1 - x, lambda x: x.clone().relu_(), lambda x: x.clamp(0, 1)),
        *(lambda x: x**2, lambda x: x.masked_fill(x.new_zeros(x.shape, dtype=torch.bool), 0), lambda x: x > 0),
    ],
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


@pytest.mark.parametrize(
    ("norm", "name"), [(nn.GroupNorm(3, 3), "group_norm"), (nn.InstanceNorm2d(3, affine=True), "instance_norm")]
)
def test_other_norms_count_five_an_entry_as_fvcore_does(norm, name):
    assert count_operations(norm, SHAPE) == {name: 5 * 2 * 3 * 4 * 5}


@pytest.mark.parametrize(
    "free",
    [
        lambda x: x.permute(0, 2, 3, 1).contiguous(),
        lambda x: torch.cat((x, x)).chunk(2),
        lambda x: F.pad(x, (1, 1)).clone(),
        lambda x: F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2),
        lambda x: F.channel_shuffle(x, 3),
        lambda x: F.interpolate(x, scale_factor=2.0),
        lambda x: x[:, :, ::2].expand_as(x[:, :, ::2]).unflatten(3, (5, 1)),
    ],
)
def test_moving_data_is_free(free):
    assert not count_operations(Function(free), SHAPE)


def test_an_operator_in_no_list_is_named():
    operations = traced(Function(lambda x: torch.special.bessel_j0(x) + torch.special.bessel_j0(x)), SHAPE)
    assert operations.unknown == {"special_bessel_j0": 2}
    assert operations.counts == {"elementwise": 2 * 3 * 4 * 5}


A, B, C, D = 2, 3, 4, 5


@pytest.mark.parametrize(
    ("product", "macs"),
    [
        (lambda x: x @ torch.ones(D), A * B * C * D),
        (lambda x: x.flatten(0, 2).mv(torch.ones(D)), A * B * C * D),
        (lambda x: x.flatten().dot(torch.ones(A * B * C * D)), A * B * C * D),
        (lambda x: torch.ones(D, 7).t() @ x.transpose(2, 3), 7 * A * B * C * D),
        (lambda x: torch.baddbmm(torch.ones(A * B, C, 7), x.flatten(0, 1), torch.ones(A * B, D, 7)), 7 * A * B * C * D),
        (lambda x: torch.tensordot(x, torch.ones(C, D, 7), dims=2), 7 * A * B * C * D),
        (lambda x: torch.einsum("nchw,co->nohw", x, torch.ones(B, 71)), 71 * A * B * C * D),
        (lambda x: torch.einsum("nchw, nchw -> nc", x, x), A * B * C * D),
        (lambda x: F.scaled_dot_product_attention(x, torch.ones(A, B, 9, D), torch.ones(A, B, 9, 6)), A * B * C * 9 * (D + 6)),
    ],
)
def test_any_product_of_matrices_counts_its_multiply_adds(product, macs):
    assert count_operations(Function(product), SHAPE)["linear"] == macs


def test_a_convolution_spelled_as_a_product_counts_the_same():
    weight = torch.ones(72, 72)
    conv = traced(Function(lambda x: F.conv2d(x, weight[:, :, None, None])), (1, 72, 57, 57))
    spelled = traced(Function(lambda x: torch.einsum("nchw,oc->nohw", x, weight)), (1, 72, 57, 57))
    assert conv.macs == spelled.macs == 72 * 72 * 57 * 57


def test_attention_layers_are_counted_and_not_hidden_in_one_operator():
    """Projections in and out, scores and weighted sums, of 20 entries of 8 channels."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.layer(x, x, x, need_weights=False)[0]

    found = traced(Layer(), (1, 20, 8))
    assert not found.unknown
    assert found.macs == 20 * 8 * (3 * 8 + 8) + 2 * 20 * 20 * 8


def test_a_shape_that_a_handle_was_not_made_for_makes_its_operator_unknown():
    found = traced(Function(lambda x: torch.einsum("...w,...w->...", x, x)), SHAPE)
    assert found.unknown == {"einsum": 1}
    assert not found.macs
