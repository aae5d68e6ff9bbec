"""The same seed gives the same curve: randomness that depends on (seed, epoch, purpose) alone, and flags in a scope.

A generator is made afresh for every epoch and purpose, so that an epoch does not depend on how many random numbers the
epochs before it drew. That is why training goes on from a checkpoint exactly as if it had never stopped.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def derived_seed(seed: int, epoch: int, purpose: str) -> int:
    """A 63-bit seed for one purpose in one epoch; stable across processes, machines and versions.

    seed, epoch: not negative.
    """
    sequence = np.random.SeedSequence([seed, epoch, zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def deterministic(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators and choose deterministic kernels; both are put back at the end.

    Wrap the making of a model in it too, for its first weights. On CPU results are equal bit for bit for a given machine
    and number of threads. On CUDA deterministic kernels are used wherever torch has them; elsewhere torch warns and
    goes on with the others.
    """
    on_cuda = device.type == "cuda"
    cudnn = torch.backends.cudnn
    allocation: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        allocation.fill_uninitialized_memory,
        cudnn.deterministic,
        cudnn.benchmark,
    )
    with torch.random.fork_rng(devices=[device] if on_cuda else [], device_type="cuda"):
        torch.manual_seed(seed)
        try:
            if on_cuda:
                torch.use_deterministic_algorithms(True, warn_only=True)
                # Filling every new tensor with NaN finds bugs and costs bandwidth.
                allocation.fill_uninitialized_memory = False
                cudnn.deterministic, cudnn.benchmark = True, False
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            allocation.fill_uninitialized_memory = before[2]
            cudnn.deterministic, cudnn.benchmark = before[3], before[4]
