"""Operations of a module, counted by fvcore from one traced forward pass. 1 GFLOP is 1e9 multiply-adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from cbam_search.cost.handles import CONVOLUTION, HANDLES, LINEAR


@dataclass(frozen=True)
class Operations:
    """counts: multiply-adds of convolution, linear (any product of matrices) and batch_norm; of the other norms five an entry,
    as fvcore counts; of pooling one an entry read; of elementwise one an entry written. unknown: operators that are in no list,
    and how often they came; nothing is counted for them.
    """

    counts: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.counts + other.counts, self.unknown + other.unknown)

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers, as papers count."""
        return self.counts[CONVOLUTION] + self.counts[LINEAR]


def count_operations(module: nn.Module, input_shape: tuple[int, ...]) -> Operations:
    """Operations of one forward pass in eval mode.

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
    analysis.clear_op_handles().set_op_handle(**HANDLES)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad(), _one_thread():
        counts = analysis.by_operator()
    unknown = Counter({name.removeprefix("aten::"): times for name, times in analysis.unsupported_ops().items()})
    return Operations(Counter({operator: int(count) for operator, count in counts.items() if count}), unknown)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Traced parts are small: on a machine busy with trials, threads that wait for each other are many times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
