"""Weights, predictions and checkpoints in the safetensors format: no pickle.

They are bytes here: whoever trains may have no disk that lasts. A checkpoint holds the model, the optimiser's state by
parameter name, and in its metadata where training stands and what it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from cbam_search.errors import CheckpointError, DamagedFileError, RecordsError

FORMAT = "cbam-search checkpoint 1"

Tensors = dict[str, torch.Tensor]


def weights_of(model: nn.Module) -> bytes:
    """The model's state dict, contiguous and on CPU."""
    return save(_to_cpu(model.state_dict()))


def predictions_of(predicted: npt.NDArray[np.int64]) -> bytes:
    """The predicted class of each validation image, (N,), in the order of the split."""
    return save({"predicted": torch.from_numpy(predicted)})


def load_predictions(path: Path) -> npt.NDArray[np.int64]:
    """The same again from a file, (N,); raises RecordsError if it is damaged."""
    tensors, _ = _read(path.read_bytes(), str(path))
    if "predicted" not in tensors:
        raise RecordsError(f"{path}: holds no predictions")
    predicted: npt.NDArray[np.int64] = tensors["predicted"].numpy()
    return predicted


def checkpoint_of(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    belongs_to: Mapping[str, Any],
    progress: Mapping[str, Any],
) -> bytes:
    """Model and optimiser. belongs_to: what must be equal on loading. progress: what loading gives back.

    Both are plain JSON values.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter, {})
        tensors |= {f"optimizer.{name}.{key}": value for key, value in state.items()}
    metadata = {"format": FORMAT, "belongs_to": json.dumps(belongs_to), "progress": json.dumps(progress)}
    return save(_to_cpu(tensors), metadata)


def load_checkpoint(
    content: bytes,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    belongs_to: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> dict[str, Any]:
    """Restore model and optimiser in place, and give back the progress that was saved.

    read: makes what was saved, maybe by another version, and what must be equal comparable.

    Raises, with both untouched, DamagedFileError if the content is damaged, and CheckpointError if it was made for another
    model, recipe, seed or data set.
    """
    tensors, metadata = _read(content, "the checkpoint")
    if metadata.get("format") != FORMAT:
        raise CheckpointError("not a checkpoint of this version")
    saved, wanted = read(json.loads(metadata["belongs_to"])), read(belongs_to)
    different = sorted(key for key in {*saved, *wanted} if saved.get(key) != wanted.get(key))
    if different:
        raise CheckpointError(f"this checkpoint belongs to another training; different: {', '.join(different)}")
    weights = _with_prefix("model.", tensors)
    if wrong := _differing(model.state_dict(), weights):
        raise CheckpointError(f"this checkpoint belongs to another model; missing, surplus or misshapen: {wrong}")
    model.load_state_dict(weights)
    _load_optimizer(optimizer, dict(model.named_parameters()), _with_prefix("optimizer.", tensors))
    progress: dict[str, Any] = json.loads(metadata["progress"])
    return progress


def _load_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, torch.Tensor]
) -> None:
    optimizer.state.clear()
    for name_and_key, tensor in tensors.items():
        name, key = name_and_key.rsplit(".", 1)
        parameter = parameters[name]
        # torch's fused kernels walk raw memory: state must be laid out as its parameter is, which may be channels_last.
        like = parameter if tensor.shape == parameter.shape else tensor
        optimizer.state[parameter][key] = torch.empty_like(like, device=parameter.device).detach().copy_(tensor)


def _differing(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> str:
    """Names of tensors that only one has, or that differ in shape: the first of them, as text; empty where there is none."""
    wrong = sorted(
        name
        for name in {*expected, *found}
        if name not in expected or name not in found or expected[name].shape != found[name].shape
    )
    return ", ".join(wrong[:5]) + (" and more" if len(wrong) > 5 else "")


def _with_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _to_cpu(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    # Copies, because safetensors refuses two names for the same memory (tied weights).
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _read(content: bytes, where: str) -> tuple[Tensors, dict[str, str]]:
    """Tensors and metadata. The format: 8 bytes with the length of a JSON header, the header, the tensors."""
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except SafetensorError as error:
        raise DamagedFileError(f"{where}: damaged, or not in the safetensors format: {error}") from None
    return tensors, header.get("__metadata__", {})
