"""Operations of a module, counted by fvcore from one traced forward pass.

1 GFLOP is 1e9 multiply-adds. The names below gather what fvcore would otherwise count by spelling, or not at all: average
pooling through `mean` or `adaptive_avg_pool2d` is one figure, a global maximum through `amax` or `max_pool2d` too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import (
    addmm_flop_jit,
    batchnorm_flop_jit,
    bmm_flop_jit,
    conv_flop_jit,
    get_shape,
    linear_flop_jit,
    matmul_flop_jit,
    norm_flop_counter,
)
from torch import nn

CONVOLUTION, LINEAR = "convolution", "linear"
_Handle = Callable[[list[Any], list[Any]], Any]


def count_operations(module: nn.Module, input_shape: tuple[int, ...]) -> Counter[str]:
    """Operations of one forward pass in eval mode, by operator: multiply-adds of convolution, linear (any product of matrices)
    and batch_norm; for layer_norm five an entry, as fvcore counts; for pooling one a pixel read; for elementwise one an entry
    written.

    module: on the CPU, or on the meta device, which builds it fastest: it is then moved to the CPU, with zeros for weights.
    input_shape: (N, C, H, W).
    """
    module.eval()
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        # fvcore traces with torch.jit, which cannot trace the meta device.
        module.to_empty(device="cpu")
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.detach().zero_()
    analysis = FlopCountAnalysis(module, torch.zeros(input_shape))
    analysis.clear_op_handles().set_op_handle(**_HANDLES)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad(), _one_thread():
        counts = analysis.by_operator()
    return Counter({operator: int(count) for operator, count in counts.items() if count})


@contextmanager
def _one_thread() -> Iterator[None]:
    """Traced parts are small: on a machine busy with trials, threads that wait for each other are many times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _named(name: str, handle: _Handle) -> _Handle:
    def count(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        found = handle(inputs, outputs)
        return Counter({name: sum(found.values()) if isinstance(found, Counter) else found})

    return count


def _entries(value: Any) -> int:
    """Entries of a traced tensor; 0 for the arithmetic on sizes that a trace contains too."""
    shape = get_shape(value)
    return math.prod(shape) if shape else 0


def _entries_read(inputs: list[Any], _: list[Any]) -> int:
    return _entries(inputs[0])


def _entries_written(_: list[Any], outputs: list[Any]) -> int:
    return _entries(outputs[0])


def _softmax(_: list[Any], outputs: list[Any]) -> Counter[str]:
    """exp, sum and division, as when it is spelled so."""
    entries = _entries(outputs[0])
    return Counter({"elementwise": 2 * entries, "pooling": entries})


def _multiply_and_add(inputs: list[Any], outputs: list[Any]) -> int:
    return 2 * _entries_written(inputs, outputs)


def _window_entries_read(inputs: list[Any], outputs: list[Any]) -> int:
    window = [int(size.toIValue()) for size in inputs[1].node().inputs()]
    return _entries(outputs[0]) * math.prod(window)


_HANDLES: dict[str, _Handle] = {
    "aten::_convolution": _named(CONVOLUTION, conv_flop_jit),
    "aten::linear": _named(LINEAR, linear_flop_jit),
    "aten::addmm": _named(LINEAR, addmm_flop_jit),
    "aten::matmul": _named(LINEAR, matmul_flop_jit),
    "aten::mm": _named(LINEAR, matmul_flop_jit),
    "aten::bmm": _named(LINEAR, bmm_flop_jit),
    "aten::batch_norm": _named("batch_norm", batchnorm_flop_jit),
    "aten::layer_norm": _named("layer_norm", norm_flop_counter(2)),
    "aten::softmax": _softmax,
    "aten::addcmul": _named("elementwise", _multiply_and_add),
    **{
        f"aten::{name}": _named("pooling", _entries_read)
        for name in ("mean", "sum", "max", "amax", "linalg_vector_norm", "adaptive_avg_pool2d", "adaptive_max_pool2d")
    },
    **{f"aten::{name}": _named("pooling", _window_entries_read) for name in ("avg_pool2d", "max_pool2d")},
    **{
        f"aten::{name}{in_place}": _named("elementwise", _entries_written)
        for name in ("add", "sub", "mul", "div", "exp", "log", "relu", "sigmoid", "hardswish")
        for in_place in ("", "_")
    },
}
