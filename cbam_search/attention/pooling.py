"""The pooling functions of the gates, each with one pass forwards, and one gradient buffer for all of them backwards.

avg and max: Woo et al., arXiv 1807.06521; lp (p = 2, the norm of the map) and lse (log-sum-exp): the authors' published code.
Autograd would give each pooling a gradient the size of the feature map and add them up; for `amax` it would also convert a
boolean mask to integers to count ties. That is most of the time of a gate, hence the hand-written backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

POOLS = ("avg", "max", "lp", "lse")


def pool(x: Tensor, dim: int, kinds: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Pool x over one dimension; one tensor a kind. Of x: (N, C, L), 1 (channels) gives (N, L) and 2 (pixels) (N, C).

    kinds: any of avg, max, lp, lse. The gradient of lp at an all-zero map is zero; that of max is shared evenly among ties.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        pooled: tuple[Tensor, ...] = _Pool.apply(x, dim, kinds)  # type: ignore[no-untyped-call]
        return pooled
    return _pool(x, dim, kinds)


def _pool(x: Tensor, dim: int, kinds: tuple[str, ...]) -> tuple[Tensor, ...]:
    pooled: dict[str, Tensor] = {}
    if "avg" in kinds:
        pooled["avg"] = x.mean(dim)
    if "max" in kinds or "lse" in kinds:
        pooled["max"] = x.amax(dim)
    if "lp" in kinds:
        pooled["lp"] = torch.linalg.vector_norm(x, dim=dim)
    if "lse" in kinds:
        pooled["lse"] = (x - pooled["max"].unsqueeze(dim)).exp_().sum(dim).log_() + pooled["max"]
    return tuple(pooled[kind] for kind in kinds)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, kinds: tuple[str, ...]) -> tuple[Tensor, ...]:
        pooled = _pool(x, dim, kinds)
        ctx.save_for_backward(x, *pooled)
        ctx.dim, ctx.kinds = dim, kinds
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, *pooled = ctx.saved_tensors
        dim = ctx.dim
        total = torch.zeros_like(x.narrow(dim, 0, 1))
        for kind, value, grad in zip(ctx.kinds, pooled, grads, strict=True):
            value, grad = value.to(x.dtype).unsqueeze(dim), grad.to(x.dtype).unsqueeze(dim)
            if kind == "avg":
                total = total + grad / x.shape[dim]
            elif kind == "max":
                is_largest = torch.eq(x, value, out=torch.empty_like(x))
                total = _add_product(total, is_largest, grad / is_largest.sum(dim, keepdim=True))
            elif kind == "lp":
                total = _add_product(total, x, (grad / value).masked_fill_(value == 0, 0))
            else:
                # Divided by its own sum, since the rounding of a large log-sum-exp would scale the softmax.
                softmax = (x - value).exp_()
                total = _add_product(total, softmax, grad / softmax.sum(dim, keepdim=True))
        return total.expand_as(x), None, None


def _add_product(total: Tensor, factor: Tensor, weight: Tensor) -> Tensor:
    """total + factor * weight, in place once `total` has the full shape."""
    if total.shape == factor.shape:
        return total.addcmul_(factor, weight)
    return torch.addcmul(total, factor, weight)
