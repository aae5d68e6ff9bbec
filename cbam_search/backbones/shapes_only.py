"""Building modules for their shapes alone: on the meta device, with no initial weights worked out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_INITIALISERS = ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "zeros_", "ones_")


@contextmanager
def shapes_only() -> Iterator[None]:
    """Modules made inside have shapes and no values.

    Random initialisers of meta tensors would import the whole of torch's compiler, which takes seconds and changes nothing.
    """
    initialisers = {name: getattr(nn.init, name) for name in _INITIALISERS}
    try:
        for name in initialisers:
            setattr(nn.init, name, _unchanged)
        with torch.device("meta"):
            yield
    finally:
        for name, initialiser in initialisers.items():
            setattr(nn.init, name, initialiser)


def _unchanged(tensor: Tensor, *_settings: object, **_more: object) -> Tensor:
    return tensor
