"""Building modules for their shapes alone: on the meta device, with no initial weights worked out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import torch
from torch import Tensor, nn

_INITIALISERS = ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "zeros_", "ones_")
_inside = threading.local()
"""`depth`: how many `shapes_only` this thread is in."""


@contextmanager
def shapes_only() -> Iterator[None]:
    """Modules made inside, in this thread, have shapes and no values.

    Random initialisers of meta tensors would import the whole of torch's compiler, which takes seconds and changes nothing.
    """
    _inside.depth = getattr(_inside, "depth", 0) + 1
    try:
        with torch.device("meta"):
            yield
    finally:
        _inside.depth -= 1


def _idle_inside(initialiser: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(initialiser)
    def initialise(tensor: Tensor, *settings: object, **more: object) -> Tensor:
        return tensor if getattr(_inside, "depth", 0) else initialiser(tensor, *settings, **more)

    return initialise


# Once for the process: to put them in place and back around each use would reach other threads.
for _name in _INITIALISERS:
    setattr(nn.init, _name, _idle_inside(getattr(nn.init, _name)))
