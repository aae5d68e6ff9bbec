from __future__ import annotations

import pytest
import torch

from cbam_search.attention.pooling import pool

KINDS = ("avg", "max", "lp", "lse")


def gradient(x: torch.Tensor, kinds: tuple[str, ...], dim: int = 2) -> torch.Tensor:
    x = x.clone().requires_grad_()
    sum(pooled.sum() for pooled in pool(x, dim, kinds)).backward()
    return x.grad


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("kinds", [("avg",), ("max",), ("lp",), ("lse",), KINDS, ("lse", "avg"), ("lp", "max")])
def test_gradient_is_that_of_finite_differences(kinds, dim):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pool(x, dim, kinds), x)


@pytest.mark.parametrize("dim", [1, 2])
def test_values_are_the_same_with_and_without_gradient(dim):
    x = torch.randn(2, 3, 5, requires_grad=True)
    with torch.no_grad():
        without = pool(x, dim, KINDS)
    for found, expected in zip(pool(x, dim, KINDS), without, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_lse_is_stable_for_large_inputs(sign):
    x = sign * 1e4 + torch.randn(2, 3, 50)
    (found,) = pool(x, 2, ("lse",))
    torch.testing.assert_close(found, x.double().logsumexp(2).float())
    torch.testing.assert_close(gradient(x, ("lse",)), x.double().softmax(2).float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + [KINDS])
def test_gradient_at_an_all_zero_map_is_finite(kinds):
    assert gradient(torch.zeros(2, 3, 4), kinds).isfinite().all()


def test_gradient_of_lp_at_an_all_zero_map_is_zero():
    assert not gradient(torch.zeros(2, 3, 4), ("lp",)).any()


def test_gradient_of_max_is_shared_among_ties():
    x = torch.tensor([[[1.0, 3.0, 3.0, 2.0]]])
    assert gradient(x, ("max",)).tolist() == [[[0, 0.5, 0.5, 0]]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_gradient_has_the_dtype_of_the_input(dtype):
    x = torch.randn(2, 3, 4).to(dtype)
    assert gradient(x, KINDS).dtype == dtype
    assert all(pooled.dtype == dtype for pooled in pool(x, 2, KINDS))
