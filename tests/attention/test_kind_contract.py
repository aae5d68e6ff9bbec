"""What every registered attention kind promises, over several settings of each."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cbam_search.architecture import ATTENTION_KINDS, POOLS, AttentionSpec
from cbam_search.attention.registry import ATTENTION_MODULES, build_attention, start_as_identity
from cbam_search.errors import UnknownNameError

SETTINGS: dict[str, list[dict[str, object]]] = {
    "se": [{}, {"reduction_ratio": 4}, {"reduction_ratio": 1000}],
    "cbam": [
        {},
        {"reduction_ratio": 4, "pools": ("lse",), "spatial_kernel_size": 3},
        {"pools": POOLS, "spatial_kernel_size": None},
        {"pools": ("lp", "avg", "avg"), "spatial_kernel_size": 1},
        {"reduction_ratio": 1000, "pools": ("avg",), "spatial_kernel_size": None},
    ],
    "eca": [{}, {"eca_kernel_size": 1}, {"eca_kernel_size": 9}],
    "bam": [{}, {"reduction_ratio": 4, "dilation": 2}, {"reduction_ratio": 1000, "dilation": 1}],
    "gc": [{}, {"reduction_ratio": 1}, {"reduction_ratio": 5}],
    "coordinate": [{}, {"reduction_ratio": 1}, {"reduction_ratio": 5}],
}
SPECS = [
    ATTENTION_KINDS[kind].model_validate({"kind": kind, **settings})
    for kind in ATTENTION_KINDS
    for settings in SETTINGS.get(kind, [{}])
]
pytestmark = pytest.mark.parametrize("spec", SPECS, ids=str)


def build(spec: AttentionSpec, channels: int, seed: int = 0) -> nn.Module:
    """A module whose parameters are all away from their first values, some of which are zero."""
    torch.manual_seed(seed)
    module = build_attention(spec, channels)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("channels", [1, 2, 3, 32])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 4), (7, 3)])
def test_keeps_shape_at_any_size_and_width(spec, channels, size):
    x = torch.randn(2, channels, *size)
    for training in (True, False):
        y = build(spec, channels).train(training)(x)
        assert y.shape == x.shape
        assert y.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keeps_dtype(spec, dtype):
    x = torch.randn(2, 8, 5, 5, dtype=dtype)
    assert build(spec, 8).to(dtype)(x).dtype == dtype


def test_keeps_the_memory_format(spec):
    x = torch.randn(2, 8, 5, 5).contiguous(memory_format=torch.channels_last)
    assert build(spec, 8)(x).is_contiguous(memory_format=torch.channels_last)


def test_memory_format_changes_no_value_and_no_gradient(spec):
    found = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        module = build(spec, 8).double()
        x = torch.arange(4 * 8 * 5 * 6, dtype=torch.float64).sin().view(4, 8, 5, 6).contiguous(memory_format=memory_format)
        y = module(x.requires_grad_())
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, *module.parameters()))))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second)


def test_works_under_autocast(spec):
    module = build(spec, 32)
    x = torch.randn(4, 32, 6, 6, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert x.grad.isfinite().all()
    torch.testing.assert_close(y.float(), module(x.float()), rtol=0.1, atol=0.1)


def test_leaves_its_input_alone(spec):
    x = torch.randn(2, 32, 5, 5)
    before = x.clone()
    build(spec, 32)(x.requires_grad_())
    assert torch.equal(x, before)


def test_every_parameter_and_the_input_get_a_gradient(spec):
    x = torch.randn(8, 32, 6, 6, requires_grad=True)
    module = build(spec, 32)
    module(x).square().sum().backward()
    for name, parameter in (*module.named_parameters(), ("x", x)):
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_is_deterministic_in_eval_mode_and_whatever_else_is_in_the_batch(spec):
    module = build(spec, 16).eval()
    x = torch.randn(4, 16, 5, 5)
    assert torch.equal(module(x), module(x))
    torch.testing.assert_close(module(x)[:1], module(x[:1]))


def test_state_dict_round_trip(spec):
    first, second = build(spec, 16, seed=0).eval(), build(spec, 16, seed=1).eval()
    x = torch.randn(2, 16, 5, 5)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(x), second(x))


@pytest.mark.parametrize("channels", [1, 3, 16, 50])
def test_canonical_form_builds_the_same_function(spec, channels):
    canonical = spec.canonical(channels)
    assert canonical.canonical(channels) == canonical
    built, again = build(spec, channels).eval(), build(canonical, channels).eval()
    for target, source in zip(again.parameters(), built.parameters(), strict=True):
        assert target.shape == source.shape
        target.data.copy_(source.data)
    x = torch.randn(2, channels, 5, 5)
    torch.testing.assert_close(built(x), again(x))


def test_is_registered_under_the_same_name_as_its_spec(spec):
    assert set(ATTENTION_MODULES) == set(ATTENTION_KINDS)
    with pytest.raises(UnknownNameError, match=r"cbam"):
        ATTENTION_MODULES[spec.kind + "x"]


@pytest.mark.parametrize("channels", [1, 3, 32])
def test_starts_as_its_input_times_one_constant(spec, channels):
    module = build(spec, channels)
    constant = start_as_identity(module)
    assert constant > 0
    for training in (True, False):
        x = torch.randn(4, channels, 5, 6)
        torch.testing.assert_close(module.train(training)(x), constant * x, rtol=1e-6, atol=1e-6)


def test_that_start_can_be_trained_away_from(spec):
    """At once every parameter has a gradient, if one of zero; after a step none of them is zero."""
    torch.manual_seed(0)
    module = build_attention(spec, 32)
    start_as_identity(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    for step in range(2):
        optimizer.zero_grad()
        (module(torch.randn(8, 32, 6, 6)) - 1).square().sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert step == 0 or parameter.grad.any(), name
        optimizer.step()
