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

from fvcore.nn.jit_handles import batchnorm_flop_jit, conv_flop_jit, get_shape, norm_flop_counter

CONVOLUTION, LINEAR, POOLING, ELEMENTWISE = "convolution", "linear", "pooling", "elementwise"
UNKNOWN = "unknown: "
"""Before the name of an operator that could not be counted."""
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


def _product(value: Any) -> int:
    """Entries of a traced tensor, 1 of a single number."""
    return math.prod(get_shape(value) or ())


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


def _matrix_product(first: int) -> Handle:
    """Multiply-adds of the matrix, vector or batch that is input number `first`, times the next."""

    def count(inputs: list[Any], outputs: list[Any]) -> int:
        return _product(outputs[0]) * int(get_shape(inputs[first])[-1])

    return count


def _contraction(inputs: list[Any], outputs: list[Any]) -> int:
    """Of tensors of A x K and K x B entries: A * K * B, whatever their dimensions are called."""
    return math.isqrt(_product(inputs[0]) * _product(inputs[1]) * _product(outputs[0]))


def _einsum(inputs: list[Any], _: list[Any]) -> int:
    """Of two operands: the product of the sizes of all indices."""
    left, arrow, right = inputs[0].toIValue().replace(" ", "").partition("->")
    operands = list(inputs[1].node().inputs())
    terms = left.split(",")
    if not arrow or len(operands) != 2 or "." in left + right:
        raise NotImplementedError
    sizes: dict[str, int] = {}
    for term, value in zip(terms, operands, strict=True):
        sizes |= dict(zip(term, get_shape(value), strict=True))
    return math.prod(sizes.values())


def _attention(inputs: list[Any], _: list[Any]) -> Counter[str]:
    """Scaled dot products of queries (..., L, E) and keys (..., S, E), a softmax, and weighted sums of values (..., S, V)."""
    query, key, value = (get_shape(entry) for entry in inputs[:3])
    scores = math.prod(query[:-1]) * key[-2]
    return Counter({LINEAR: scores * (query[-1] + value[-1]), ELEMENTWISE: 2 * scores, POOLING: scores})


def _never_failing(operator: str, handle: Handle) -> Handle:
    """A shape that a handle was not made for makes its operator an unknown one."""

    def count(inputs: list[Any], outputs: list[Any]) -> Any:
        try:
            return handle(inputs, outputs)
        except Exception:
            return Counter({UNKNOWN + operator: 1})

    return count


_HANDLES: dict[str, Handle | None] = {
    "aten::_convolution": _named(CONVOLUTION, conv_flop_jit),
    "aten::linear": _named(LINEAR, _matrix_product(0)),
    "aten::addmm": _named(LINEAR, _matrix_product(1)),
    "aten::matmul": _named(LINEAR, _matrix_product(0)),
    "aten::mm": _named(LINEAR, _matrix_product(0)),
    "aten::bmm": _named(LINEAR, _matrix_product(0)),
    "aten::mv": _named(LINEAR, _matrix_product(0)),
    "aten::dot": _named(LINEAR, _matrix_product(0)),
    "aten::baddbmm": _named(LINEAR, _matrix_product(1)),
    "aten::tensordot": _named(LINEAR, _contraction),
    "aten::scaled_dot_product_attention": _attention,
    "aten::einsum": _named(LINEAR, _einsum),
    "aten::batch_norm": _named("batch_norm", batchnorm_flop_jit),
    "aten::layer_norm": _named("layer_norm", norm_flop_counter(2)),
    "aten::group_norm": _named("group_norm", norm_flop_counter(2)),
    "aten::rms_norm": _named("rms_norm", norm_flop_counter(2)),
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
HANDLES = {
    operator: handle and _never_failing(operator.removeprefix("aten::"), handle) for operator, handle in _HANDLES.items()
}
"""By operator of the trace; None is free."""
