from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from cbam_search.errors import CheckpointError, DamagedFileError, RecordsError
from cbam_search.training.checkpoint import (
    checkpoint_of,
    load_checkpoint,
    load_predictions,
    predictions_of,
    weights_of,
)
from cbam_search.training.config import TrainingConfig
from cbam_search.training.optimization import build_optimizer

MakeNet = Callable[..., nn.Sequential]
IDENTITY = {"seed": 0}


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    model.eval()
    for _ in range(steps):
        optimizer.zero_grad()
        x = torch.rand(4, 1, 8, 8, generator=generator).contiguous(memory_format=torch.channels_last)
        model(x).square().mean().backward()
        optimizer.step()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("recipe", [TrainingConfig(), TrainingConfig(optimizer="adamw", lr=0.01)])
def test_a_restored_optimizer_goes_on_as_the_first_would(make_net: MakeNet, recipe: TrainingConfig) -> None:
    """In channels_last, whose layout a fused step must find again in the restored state."""
    models = [make_net().to(memory_format=torch.channels_last) for _ in range(2)]  # type: ignore[call-overload]
    optimizers = [build_optimizer(model, recipe) for model in models]
    trained(models[0], optimizers[0], 2)
    saved = checkpoint_of(models[0], optimizers[0], belongs_to=IDENTITY, progress={"epoch": 2})
    assert load_checkpoint(saved, models[1], optimizers[1], belongs_to=IDENTITY) == {"epoch": 2}
    for model, optimizer in zip(models, optimizers, strict=True):
        trained(model, optimizer, 3)
    first, second = (state(model) for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_weights_come_back(make_net: MakeNet) -> None:
    model, other = make_net().to(memory_format=torch.channels_last), make_net()  # type: ignore[call-overload]
    nn.init.normal_(model[0].weight)
    other.load_state_dict(load(weights_of(model)))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_predictions_come_back(tmp_path: Path) -> None:
    predicted = np.array([3, 0, 9, 9], dtype=np.int64)
    (tmp_path / "predictions.safetensors").write_bytes(predictions_of(predicted))
    found = load_predictions(tmp_path / "predictions.safetensors")
    assert (found.tolist(), found.dtype) == (predicted.tolist(), np.int64)


def test_weights_are_no_predictions(make_net: MakeNet, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(weights_of(make_net()))
    with pytest.raises(RecordsError, match="holds no predictions"):
        load_predictions(tmp_path / "weights.safetensors")


def test_a_checkpoint_of_another_model_is_refused_and_changes_nothing(make_net: MakeNet) -> None:
    wide, model = make_net(width=16), make_net()
    saved = checkpoint_of(wide, build_optimizer(wide, TrainingConfig()), belongs_to=IDENTITY, progress={})
    before = state(model)
    with pytest.raises(CheckpointError, match=r"another model.*0\.weight"):
        load_checkpoint(saved, model, build_optimizer(model, TrainingConfig()), belongs_to=IDENTITY)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_damaged_predictions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.safetensors"
    path.write_bytes(predictions_of(np.zeros(100, dtype=np.int64))[:-100])
    with pytest.raises(DamagedFileError, match=r"predictions\.safetensors: damaged"):
        load_predictions(path)


def test_a_checkpoint_of_another_recipe_is_refused_by_name(make_net: MakeNet) -> None:
    model = make_net()
    optimizer = build_optimizer(model, TrainingConfig())
    saved = checkpoint_of(model, optimizer, belongs_to={"seed": 0, "data": "a"}, progress={})
    with pytest.raises(CheckpointError, match=r"different: seed$"):
        load_checkpoint(saved, model, optimizer, belongs_to={"seed": 1, "data": "a"})


def test_weights_alone_are_not_a_checkpoint(make_net: MakeNet) -> None:
    model = make_net()
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(weights_of(model), model, build_optimizer(model, TrainingConfig()), belongs_to=IDENTITY)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64])
def test_a_damaged_checkpoint_is_refused_and_changes_nothing(make_net: MakeNet, content: bytes) -> None:
    model = make_net()
    before = state(model)
    with pytest.raises(DamagedFileError, match="the checkpoint: damaged"):
        load_checkpoint(content, model, build_optimizer(model, TrainingConfig()), belongs_to=IDENTITY)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
