"""Reads a file of weights without running anything in it: safetensors, or what torch.save wrote of plain tensors."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cbam_search.errors import WeightsError
from cbam_search.safe_text import reason

CONTAINERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep the state dict beside other things."""
WRAPPERS = ("module.", "_orig_mod.")
"""What torch's data-parallel and compiled wrappers put before every name."""
_FORBIDDEN = re.compile(r"GLOBAL (\S+)")


def read_tensors(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors by name, on CPU, taken out of their container and without a wrapper's prefix; and what else the file holds.

    `.safetensors` is read as such, everything else by torch.load with weights_only=True. Raises WeightsError.
    """
    try:
        with path.open("rb"):
            pass
        content = load_file(path) if path.suffix.lower() == ".safetensors" else _torch_load(path)
    except OSError as error:
        raise WeightsError(f"{path}: these weights cannot be read: {reason(error, with_file=False)}") from None
    except SafetensorError as error:
        raise WeightsError(f"{path}: damaged, or not a safetensors file: {error}") from None
    container, others = _container(content)
    return _state_dict(content if container is None else content[container], path), others


def _torch_load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # torch raises whatever the bytes led it to: UnpicklingError, RuntimeError, EOFError, KeyError.
        forbidden = _FORBIDDEN.search(str(error))
        if forbidden is None:
            raise WeightsError(
                f"{path}: damaged, or not a file of torch.save with tensors alone ({type(error).__name__}). Files of "
                f"safetensors must be named so: .safetensors"
            ) from None
        raise WeightsError(
            f"{path}: holds {forbidden[1].rstrip('.,')}, not tensors alone. Loading such a file can run any code in it, so it "
            f"is refused, and nothing of it was run. If you trust it, save its tensors where it came from: "
            f"torch.save(model.state_dict(), PATH)"
        ) from None


def _container(content: Any) -> tuple[str | None, tuple[str, ...]]:
    """The key of the state dict, where it lies within other things, and the keys of these."""
    for key in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            return key, tuple(str(other) for other in content if other != key)
    return None, ()


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: holds no state dict, a mapping from names to tensors, but {_named(content)}")
    others = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        rest = f" and {len(others) - 5} more" if len(others) > 5 else ""
        raise WeightsError(
            f"{path}: a state dict maps names to tensors, and under {', '.join(others[:5])}{rest} there is something else. "
            f"A state dict within another is found under {', '.join(CONTAINERS)}"
        )
    tensors = {str(name): value for name, value in content.items()}
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
    return tensors


def _named(content: Any) -> str:
    return "an empty one" if isinstance(content, Mapping) else type(content).__name__
