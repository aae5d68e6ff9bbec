from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from cbam_search.training.config import TrainingConfig
from cbam_search.training.optimization import build_optimizer, learning_rate_at, parameter_groups

MakeNet = Callable[[], nn.Sequential]


def test_norms_and_biases_are_not_decayed(make_net: MakeNet) -> None:
    model = make_net()
    decayed, spared = parameter_groups(model, 0.01)
    assert decayed["weight_decay"] == 0.01
    assert spared["weight_decay"] == 0.0
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(parameter)] for parameter in decayed["params"]] == ["0.weight", "3.weight", "8.weight"]
    assert [names[id(parameter)] for parameter in spared["params"]] == [
        "1.weight", "1.bias", "4.weight", "4.bias", "8.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_without_gradients_only_decay_moves_a_weight(make_net: MakeNet, optimizer: str) -> None:
    model = make_net()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    steps = build_optimizer(model, TrainingConfig(optimizer=optimizer, lr=0.1, momentum=0, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    steps.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] * (0.95 if parameter.ndim > 1 else 1.0))


def test_two_steps_of_sgd_are_nesterovs() -> None:
    """g = 1 each step: the buffer is 1, then 1.9; a step is lr * (g + 0.9 * buffer)."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = build_optimizer(model, TrainingConfig(lr=0.1, weight_decay=0.0))
    for _ in range(2):
        model.weight.grad = torch.ones_like(model.weight)
        optimizer.step()
    assert model.weight.item() == pytest.approx(-0.1 * (1 + 0.9 * 1) - 0.1 * (1 + 0.9 * 1.9))


def test_a_first_step_that_the_gradient_scaler_skips_leaves_no_trace() -> None:
    """float16 gradients often overflow at first, while the scaler looks for its scale."""
    junk = [torch.full((64, 64), 1e30) for _ in range(50)]  # what memory that nobody initialised may hold
    del junk
    model = nn.Linear(64, 64, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = build_optimizer(model, TrainingConfig(lr=0.1, weight_decay=0.0))
    scaler = torch.amp.GradScaler("cpu")
    for gradient in (math.inf, 1.0):
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(gradient * model.weight.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    torch.testing.assert_close(model.weight.detach(), torch.full((64, 64), -0.1 * (1 + 0.9 * 1)))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.1),  # a quarter of the peak
        (1, 0.2),
        (3, 0.4),  # the end of the warm-up
        (4, 0.4),  # the cosine starts
        (8, 0.2),  # half way down
        (6, 0.2 * (1 + math.sqrt(0.5))),
        (11, 0.2 * (1 + math.cos(math.pi * 7 / 8))),  # the last step: nearly nothing
    ],
)
def test_learning_rate_at_steps_reckoned_by_hand(step: int, expected: float) -> None:
    assert learning_rate_at(step, total_steps=12, warmup_steps=4, peak=0.4) == pytest.approx(expected, rel=1e-12)


def test_without_warmup_the_first_step_has_the_peak_and_the_rate_only_falls() -> None:
    rates = [learning_rate_at(step, total_steps=1000, warmup_steps=0, peak=1.0) for step in range(1000)]
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 1e-5
