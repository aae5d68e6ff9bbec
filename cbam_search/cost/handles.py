"""What each traced operator counts, whatever it is called: the same function costs the same however it is spelled.

Average pooling through `mean` or `adaptive_avg_pool2d` is one figure, a global maximum through `amax` or `max_pool2d` too.
fvcore passes over some operators that compute something (clamp, floor, comparisons); here they count. What only moves or names
data is free. An operator in neither list is unknown, and is named to the reader.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from fvcore.nn.jit_handles import (
    addmm_flop_jit,
    batchnorm_flop_jit,
    bmm_flop_jit,
    conv_flop_jit,
    einsum_flop_jit,
    get_shape,
    linear_flop_jit,
    matmul_flop_jit,
    norm_flop_counter,
)

CONVOLUTION, LINEAR, POOLING, ELEMENTWISE = "convolution", "linear", "pooling", "elementwise"
Handle = Callable[[list[Any], list[Any]], Any]

_POOLINGS = """mean sum max min amax amin norm linalg_vector_norm frobenius_norm logsumexp prod var std argmax argmin
any all cumsum adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d"""
_WINDOWED_POOLINGS = "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices"
_ELEMENTWISE = """add sub rsub mul div neg abs square sqrt rsqrt reciprocal pow exp expm1 log log1p log2 sin cos erf
sign floor ceil round clamp clamp_min clamp_max maximum minimum where masked_fill remainder fmod floor_divide lerp eq
ne lt le gt ge logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or __and__ __or__ relu relu6
leaky_relu prelu elu selu celu gelu silu mish hardtanh hardsigmoid hardswish sigmoid tanh softplus log_sigmoid
threshold softsign glu upsample_bilinear2d upsample_bicubic2d"""
_FREE = """alias as_strided atleast_1d broadcast_to channel_shuffle clone concat concatenate dropout_ dsplit
empty_like expand_as feature_dropout flip hsplit hstack im2col index_select is_floating_point item lift_fresh movedim
moveaxis numel ones_like pad pixel_shuffle pixel_unshuffle reflection_pad2d repeat replication_pad2d reshape_as
resolve_conj rot90 row_stack scatter squeeze_ swapaxes swapdims tensor_split tile unflatten unfold upsample_nearest2d
view_as vstack _shape_as_tensor"""


def entries(value: Any) -> int:
    """Entries of a traced tensor; 0 for the arithmetic on sizes that a trace contains too."""
    shape = get_shape(value)
    return math.prod(shape) if shape else 0


def _named(name: str, handle: Handle) -> Handle:
    def count(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        found = handle(inputs, outputs)
        return Counter({name: sum(found.values()) if isinstance(found, Counter) else found})

    return count


def _entries_read(inputs: list[Any], _: list[Any]) -> int:
    return entries(inputs[0])


def _entries_written(_: list[Any], outputs: list[Any]) -> int:
    return entries(outputs[0])


def _maximum_or_minimum(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """`max(x)` and `max(x, dim)` pool; `max(x, y)` compares entry by entry."""
    of_two = len(inputs) == 2 and entries(inputs[1]) > 0
    return Counter({ELEMENTWISE: entries(outputs[0])} if of_two else {POOLING: entries(inputs[0])})


def _softmax(_: list[Any], outputs: list[Any]) -> Counter[str]:
    """exp, sum and division, as when it is spelled so."""
    written = entries(outputs[0])
    return Counter({ELEMENTWISE: 2 * written, POOLING: written})


def _multiply_and_add(_: list[Any], outputs: list[Any]) -> int:
    return 2 * entries(outputs[0])


def _window_entries_read(inputs: list[Any], outputs: list[Any]) -> int:
    window = [int(size.toIValue()) for size in inputs[1].node().inputs()]
    return entries(outputs[0]) * math.prod(window)


HANDLES: dict[str, Handle | None] = {
    "aten::_convolution": _named(CONVOLUTION, conv_flop_jit),
    "aten::linear": _named(LINEAR, linear_flop_jit),
    "aten::addmm": _named(LINEAR, addmm_flop_jit),
    "aten::matmul": _named(LINEAR, matmul_flop_jit),
    "aten::mm": _named(LINEAR, matmul_flop_jit),
    "aten::bmm": _named(LINEAR, bmm_flop_jit),
    "aten::einsum": _named(LINEAR, einsum_flop_jit),
    "aten::batch_norm": _named("batch_norm", batchnorm_flop_jit),
    "aten::layer_norm": _named("layer_norm", norm_flop_counter(2)),
    "aten::group_norm": _named("group_norm", norm_flop_counter(2)),
    "aten::instance_norm": _named("instance_norm", norm_flop_counter(1)),
    "aten::addcmul": _named(ELEMENTWISE, _multiply_and_add),
    "aten::addcmul_": _named(ELEMENTWISE, _multiply_and_add),
    **{f"aten::{name}": _named(POOLING, _entries_read) for name in _POOLINGS.split()},
    **{f"aten::{name}": _named(POOLING, _window_entries_read) for name in _WINDOWED_POOLINGS.split()},
    **{
        f"aten::{name}{in_place}": _named(ELEMENTWISE, _entries_written)
        for name in _ELEMENTWISE.split()
        for in_place in ("", "_")
    },
    "aten::max": _maximum_or_minimum,
    "aten::min": _maximum_or_minimum,
    "aten::softmax": _softmax,
    "aten::log_softmax": _softmax,
    **{f"aten::{name}": None for name in _FREE.split()},
}
"""By operator of the trace; None is free."""
