"""The optimiser, what it decays, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from cbam_search.training.config import TrainingConfig


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of trainable parameters: weights with decay; norms, biases and scalars (ndim <= 1) without.

    Source: He et al., "Bag of Tricks for Image Classification" (2019), section 3.1, "no bias decay".
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW with torch's betas, over the groups of `parameter_groups`.

    Fused: a step over a ResNet-8 takes 0.09 ms on CPU (foreach 0.37, loop 0.34), with AdamW 0.21 ms (0.68, 1.00).
    """
    groups = [group for group in parameter_groups(model, config.weight_decay) if group["params"]]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, fused=True)
    sgd = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0, fused=True)
    if config.momentum:
        # Where the gradient scaler skips the first step, torch 2.13 would leave the buffers as uninitialised memory.
        for parameter in (parameter for group in groups for parameter in group["params"]):
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def learning_rate_at(step: int, *, total_steps: int, warmup_steps: int, peak: float) -> float:
    """The learning rate of a step, in 0..total_steps - 1: linear from peak / warmup_steps to peak, then a cosine to ~0.

    Source: Loshchilov and Hutter, "SGDR" (2017), equation 5, without restarts; warm-up of Goyal et al. (2017).
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
