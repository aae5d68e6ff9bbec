from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from cbam_search.data.images import ImageData
from cbam_search.errors import CheckpointError, DeviceMemoryError, DivergedError
from cbam_search.metrics import confusion_matrix, names_of, trained_values
from cbam_search.training.batches import DataOnDevice
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import deterministic
from cbam_search.training.epoch import Epoch
from cbam_search.training.loop import train
from cbam_search.training.numerics import NUMERICS_VERSION

MakeNet = Callable[..., nn.Sequential]
CPU = torch.device("cpu")
RECIPE = TrainingConfig(epochs=4, batch_size=64, lr=0.05, warmup_epochs=1, label_smoothing=0.1, augment=("crop",))


def untimed(results: list[Epoch]) -> list[Epoch]:
    return [dataclasses.replace(result, seconds=0.0, processor_seconds=None) for result in results]


def same_weights(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(tensor, right.state_dict()[name]) for name, tensor in left.state_dict().items())


def test_a_net_learns_the_digits(digits: ImageData, make_net: MakeNet) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 10, "batch_size": 32, "augment": ()})
    results = list(train(make_net(), digits, recipe, seed=0, device=CPU))
    assert [result.epoch for result in results] == list(range(1, 11))
    first, last = results[0].metrics, results[-1].metrics
    assert last["accuracy"] > 0.8
    assert last["train_loss"] < first["train_loss"]
    assert last["learning_rate"] < 0.001 < first["learning_rate"] == 0.05


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "adamw", "lr": 0.01, "gradient_clip_norm": 1.0, "augment": ("crop", "cutout")}]
)
def test_the_same_seed_gives_the_same_curve_bit_for_bit(
    digits: ImageData, make_net: MakeNet, changes: dict[str, object]
) -> None:
    recipe = TrainingConfig.model_validate(RECIPE.model_dump() | changes)
    models = [make_net(), make_net()]
    first = list(train(models[0], digits, recipe, seed=7, device=CPU))
    torch.manual_seed(123)
    second = list(train(models[1], DataOnDevice(digits, CPU), recipe, seed=7, device=CPU))
    assert untimed(first) == untimed(second)
    assert same_weights(*models)


def test_another_seed_gives_another_curve(digits: ImageData, make_net: MakeNet) -> None:
    first, second = (next(train(make_net(), digits, RECIPE, seed=seed, device=CPU)) for seed in (0, 1))
    assert first.metrics["train_loss"] != second.metrics["train_loss"]


def test_training_leaves_the_callers_random_numbers_alone(digits: ImageData, make_net: MakeNet) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    next(train(make_net(), digits, RECIPE, seed=0, device=CPU))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resuming_continues_bit_for_bit(digits: ImageData, make_net: MakeNet, optimizer: str) -> None:
    recipe = TrainingConfig.model_validate(RECIPE.model_dump() | {"optimizer": optimizer, "lr": 0.01})
    whole, before, after = make_net(), make_net(), make_net()
    uninterrupted = list(train(whole, digits, recipe, seed=3, device=CPU))

    stopped = train(before, digits, recipe, seed=3, device=CPU)
    assert stopped.resumed_epoch == 0
    next(stopped)
    next(stopped)
    resumed = train(after, digits, recipe, seed=3, device=CPU, checkpoint=stopped.checkpoint())
    assert resumed.resumed_epoch == 2
    assert untimed(list(resumed)) == untimed(uninterrupted[2:])
    assert same_weights(whole, after)


def test_a_checkpoint_of_another_training_is_refused(digits: ImageData, make_net: MakeNet) -> None:
    training = train(make_net(), digits, RECIPE, seed=0, device=CPU)
    next(training)
    saved = training.checkpoint()
    with pytest.raises(CheckpointError, match="different: seed"):
        train(make_net(), digits, RECIPE, seed=1, device=CPU, checkpoint=saved)
    with pytest.raises(CheckpointError, match="different: recipe"):
        train(make_net(), digits, RECIPE.model_copy(update={"lr": 0.2}), seed=0, device=CPU, checkpoint=saved)
    with pytest.raises(CheckpointError, match="another model"):
        train(make_net(width=4), digits, RECIPE, seed=0, device=CPU, checkpoint=saved)


@pytest.mark.parametrize("changed", [{}, {"numerics_version": NUMERICS_VERSION + 1}, {"recipe": {"epochs": 5}}])
def test_a_checkpoint_of_version_0_1_goes_on_where_nothing_decides_otherwise(
    digits: ImageData, make_net: MakeNet, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    """It says nothing of numerics, which were of version 1, nor of settings that have come since."""
    recipe = RECIPE.model_dump(mode="json")
    del recipe["gradient_clip_norm"]
    written = {"recipe": recipe, "seed": 0, "data": digits.fingerprint}
    training = train(make_net(), digits, RECIPE, seed=0, device=CPU)
    next(training)
    with monkeypatch.context() as then:
        then.setattr(training, "_identity", lambda: written | changed)
        saved = training.checkpoint()
    if changed:
        with pytest.raises(CheckpointError, match=f"different: {next(iter(changed))}$"):
            train(make_net(), digits, RECIPE, seed=0, device=CPU, checkpoint=saved)
    else:
        assert train(make_net(), digits, RECIPE, seed=0, device=CPU, checkpoint=saved).resumed_epoch == 1


def test_what_the_last_epoch_predicts_and_measures_is_at_hand(digits: ImageData, make_net: MakeNet) -> None:
    training = train(make_net(), digits, RECIPE, seed=0, device=CPU)
    assert (training.measured, len(training.predicted)) == ({}, 0)
    first, *_, last = training
    assert set(first.metrics) == {"train_loss", "validation_loss", "learning_rate", *names_of("trained")}
    assert last.processor_seconds is not None
    right = training.predicted == digits.validation.labels
    assert training.measured["accuracy"].value == right.mean() == last.metrics["accuracy"] != first.metrics["accuracy"]
    assert training.measured == trained_values(confusion_matrix(digits.validation.labels, training.predicted, 10))


def test_losses_that_are_not_finite_end_the_training(digits: ImageData, make_net: MakeNet) -> None:
    recipe = RECIPE.model_copy(update={"lr": 1e20, "warmup_epochs": 0.0})
    with pytest.raises(DivergedError, match="loss of epoch 1 is nan"):
        next(train(make_net(), digits, recipe, seed=0, device=CPU))


def test_too_little_memory_on_the_device_is_reported_as_such(digits: ImageData, make_net: MakeNet) -> None:
    class TooLarge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    with pytest.raises(DeviceMemoryError, match="80 GiB") as failure:
        next(train(TooLarge(), digits, RECIPE, seed=0, device=CPU))
    assert failure.value.__context__ is None, "the first error would keep its tensors alive"


def test_golden_curve(digits: ImageData, make_net: MakeNet) -> None:
    """A refactoring must reproduce the stored losses; other CPUs round differently, hence the tolerance."""
    golden = json.loads((Path(__file__).parent / "golden_curve.json").read_text())
    results = list(train(make_net(), digits, RECIPE, seed=0, device=CPU))
    assert [result.metrics["train_loss"] for result in results] == pytest.approx(golden["train_loss"], rel=1e-3)
    assert [result.metrics["validation_loss"] for result in results] == pytest.approx(golden["validation_loss"], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("mixed_precision", ["auto", "off"])
def test_on_a_gpu_the_same_seed_gives_the_same_finite_curve(digits: ImageData, make_net: MakeNet, mixed_precision: str) -> None:
    recipe = TrainingConfig.model_validate(RECIPE.model_dump() | {"mixed_precision": mixed_precision})
    device = torch.device("cuda")
    first, second = (untimed(list(train(make_net(), digits, recipe, seed=0, device=device))) for _ in range(2))
    assert first == second
    assert first[-1].metrics["accuracy"] > 0.5


def test_the_deterministic_scope_repeats_and_restores() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    drawn = []
    for _ in range(2):
        with deterministic(9, CPU):
            drawn.append(torch.rand(2))
    assert torch.equal(*drawn)
    assert torch.equal(torch.rand(2), expected)
