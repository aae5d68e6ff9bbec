"""Equal canonical forms compute the same function under the same weights; unequal ones do not."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from architectures import architectures, backbones, with_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cbam_search.architecture import (
    ATTENTION_KINDS,
    Architecture,
    AttentionSpec,
    Backbone,
    BamSpec,
    CbamSpec,
    CoordinateSpec,
    EcaSpec,
    GlobalContextSpec,
    SeSpec,
)
from cbam_search.attention.registry import build_attention
from cbam_search.backbones.builder import build

TINY = Backbone(family="cifar_resnet", depth=8, width=0.5, stem="cifar", classes=4)  # sites of 8, 16 and 32 channels
TINY_BOTTLENECK = Backbone(family="resnet", depth=50, width=0.0625, stem="cifar", classes=4)


def everywhere(spec, backbone=TINY) -> Architecture:
    return with_attention(backbone, (spec,) * len(backbone.geometry().blocks))


def with_backbone(architecture: Architecture, **settings: object) -> Architecture:
    backbone = Backbone.model_validate(architecture.backbone.model_dump() | settings)
    return Architecture(backbone=backbone, attention=architecture.attention)


BARE = everywhere(None)
EQUAL = {
    "order of pools": (everywhere(CbamSpec(pools=("avg", "max"))), everywhere(CbamSpec(pools=("max", "avg")))),
    "repeated pool": (everywhere(CbamSpec(pools=("lp", "lse"))), everywhere(CbamSpec(pools=("lse", "lp", "lse")))),
    "ratios beyond the channels": (everywhere(SeSpec(reduction_ratio=32)), everywhere(SeSpec(reduction_ratio=64))),
    "ratios of one hidden width": (
        with_attention(TINY, (SeSpec(reduction_ratio=5), None, None)),
        with_attention(TINY, (SeSpec(reduction_ratio=8), None, None)),
    ),
    "SE is the channel gate with average pooling": (
        everywhere(CbamSpec(reduction_ratio=4, pools=("avg",), spatial_kernel_size=None)),
        everywhere(SeSpec(reduction_ratio=4)),
    ),
    "ECA's kernel size and that of the paper for so many channels": (
        everywhere(EcaSpec()),
        everywhere(EcaSpec(eca_kernel_size=3)),
    ),
    "ECA's kernel sizes beyond all channels": (
        everywhere(EcaSpec(eca_kernel_size=63)),
        everywhere(EcaSpec(eca_kernel_size=99)),
    ),
    "BAM's ratios of one hidden width": (everywhere(BamSpec(reduction_ratio=32)), everywhere(BamSpec(reduction_ratio=64))),
    "GC's least hidden width, of 4": (
        everywhere(GlobalContextSpec(reduction_ratio=8)),
        everywhere(GlobalContextSpec(reduction_ratio=9)),
    ),
    "Coordinate Attention's least hidden width, of 8": (
        everywhere(CoordinateSpec(reduction_ratio=4)),
        everywhere(CoordinateSpec()),
    ),
    "one pooling has one MLP": (
        everywhere(CbamSpec(pools=("max",), channel_mlp="per_pool")),
        everywhere(CbamSpec(pools=("max",))),
    ),
    "no spatial gate has no order": (
        everywhere(CbamSpec(spatial_kernel_size=None, order="parallel")),
        everywhere(CbamSpec(spatial_kernel_size=None, order="spatial_first")),
    ),
    "no spatial gate has no descriptor": (
        everywhere(CbamSpec(spatial_kernel_size=None, spatial_descriptor="conv")),
        everywhere(CbamSpec(spatial_kernel_size=None)),
    ),
    "basic blocks have no variant": (BARE, with_backbone(BARE, variant="v1.5")),
    "widths that round alike": (BARE, with_backbone(BARE, width=0.51)),
}
UNEQUAL = {
    "bare and SE": (BARE, everywhere(SeSpec())),
    "SE and CBAM": (everywhere(SeSpec()), everywhere(CbamSpec())),
    "one site and another": (
        with_attention(TINY, (SeSpec(), None, None)),
        with_attention(TINY, (None, SeSpec(), None)),
    ),
    "pools": (everywhere(CbamSpec(pools=("avg", "max"))), everywhere(CbamSpec(pools=("avg", "lp")))),
    "ratios": (everywhere(SeSpec(reduction_ratio=4)), everywhere(SeSpec(reduction_ratio=2))),
    "spatial kernel sizes": (everywhere(CbamSpec()), everywhere(CbamSpec(spatial_kernel_size=5))),
    "no spatial gate": (everywhere(CbamSpec()), everywhere(CbamSpec(spatial_kernel_size=None))),
    "average and max are not SE": (everywhere(CbamSpec(spatial_kernel_size=None)), everywhere(SeSpec())),
    "channel first and spatial first": (everywhere(CbamSpec()), everywhere(CbamSpec(order="spatial_first"))),
    "channel first and parallel": (everywhere(CbamSpec()), everywhere(CbamSpec(order="parallel"))),
    "spatial first and parallel": (everywhere(CbamSpec(order="spatial_first")), everywhere(CbamSpec(order="parallel"))),
    "a learned descriptor": (everywhere(CbamSpec()), everywhere(CbamSpec(spatial_descriptor="conv"))),
    "an MLP for each pooling": (everywhere(CbamSpec()), everywhere(CbamSpec(channel_mlp="per_pool"))),
    **{
        f"{first} and {second}": (
            with_attention(TINY, (SeSpec(),) * 3, first),
            with_attention(TINY, (SeSpec(),) * 3, second),
        )
        for first, second in combinations(("pre", "branch_end", "identity", "post"), 2)
    },
    "ECA's kernel sizes": (everywhere(EcaSpec(eca_kernel_size=3)), everywhere(EcaSpec(eca_kernel_size=5))),
    "dilations": (everywhere(BamSpec()), everywhere(BamSpec(dilation=2))),
    "BAM's ratios": (everywhere(BamSpec(reduction_ratio=4)), everywhere(BamSpec(reduction_ratio=2))),
    "GC's ratios": (everywhere(GlobalContextSpec(reduction_ratio=4)), everywhere(GlobalContextSpec())),
    "Coordinate Attention's ratios": (everywhere(CoordinateSpec(reduction_ratio=2)), everywhere(CoordinateSpec())),
    "ECA and SE": (everywhere(EcaSpec()), everywhere(SeSpec())),
    "GC and SE": (everywhere(GlobalContextSpec()), everywhere(SeSpec())),
    "variants of bottlenecks": (
        everywhere(None, TINY_BOTTLENECK),
        with_backbone(everywhere(None, TINY_BOTTLENECK), variant="v1.5"),
    ),
    "stems": (everywhere(None, TINY_BOTTLENECK), with_backbone(everywhere(None, TINY_BOTTLENECK), stem="imagenet")),
    "widths": (BARE, with_backbone(BARE, width=0.52)),
    "classes": (BARE, with_backbone(BARE, classes=5)),
}


def seeded(architecture: Architecture) -> nn.Module:
    """The network with the same weights wherever the shapes of its parameters are the same."""
    network = build(architecture).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return network


def outputs(architecture: Architecture) -> torch.Tensor:
    shape = (2, architecture.backbone.in_channels, 9, 7)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return seeded(architecture)(images)


@pytest.mark.parametrize(("first", "second"), EQUAL.values(), ids=EQUAL)
def test_equal(first, second):
    assert first != second
    assert first.canonical() == second.canonical()
    assert first.digest == second.digest
    torch.testing.assert_close(outputs(first), outputs(second))


@pytest.mark.parametrize(("first", "second"), UNEQUAL.values(), ids=UNEQUAL)
def test_unequal(first, second):
    assert first.canonical() != second.canonical()
    assert first.digest != second.digest
    found, other = outputs(first), outputs(second)
    assert found.shape != other.shape or not torch.allclose(found, other, rtol=1e-3)


@settings(max_examples=10, deadline=None)
@given(architectures())
def test_canonical_form_computes_the_same_function(architecture):
    canonical = architecture.canonical()
    assert canonical.canonical() == canonical
    assert canonical.digest == architecture.digest
    found, expected = outputs(canonical), outputs(architecture)
    torch.testing.assert_close(found / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=1e-3)


widths = st.floats(min_value=0.07, max_value=2.5)


@given(backbones, backbones, widths, widths)
def test_backbones_are_equal_exactly_when_their_geometry_is(first, second, width, other_width):
    for one, two in (
        (first, second),
        (first, widened(first, width)),
        (widened(first, width), widened(first, other_width)),
    ):
        assert (one.canonical() == two.canonical()) == (one.geometry() == two.geometry())


def widened(backbone: Backbone, width: float) -> Backbone:
    """With another width, where the family can have it."""
    try:
        return Backbone.model_validate(backbone.model_dump() | {"width": width})
    except ValueError:
        return backbone


RATIOS = (*range(1, 11), 16, 17, 32, 33, 100)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8, 9, 20, 33, 64])
@pytest.mark.parametrize("kind", [kind for kind in ATTENTION_KINDS if "reduction_ratio" in ATTENTION_KINDS[kind].settings()])
def test_ratios_are_one_exactly_when_their_modules_have_one_shape(kind, channels):
    def shapes(spec: AttentionSpec) -> tuple[tuple[int, ...], ...]:
        with torch.device("meta"):
            return tuple(tuple(parameter.shape) for parameter in build_attention(spec, channels).parameters())

    forms = {ratio: ATTENTION_KINDS[kind](reduction_ratio=ratio).canonical(channels) for ratio in RATIOS}
    by_form = {form: shapes(form) for form in forms.values()}
    assert len(set(by_form.values())) == len(by_form)
    for ratio, form in forms.items():
        assert shapes(ATTENTION_KINDS[kind](reduction_ratio=ratio)) == by_form[form]


@pytest.mark.parametrize(("given", "canonical"), [(0.7, 0.7), (0.69, 0.7), (0.25, 0.25), (0.51, 0.5), (1.0, 1.0)])
def test_a_canonical_width_is_the_shortest_that_builds_the_same(given, canonical):
    backbone = Backbone(family="cifar_resnet", depth=8, stem="cifar", width=given)
    assert backbone.canonical().width == canonical
    assert backbone.canonical().geometry() == backbone.geometry()


def test_one_group_of_64_channels_is_a_resnet():
    resnext = Backbone(family="resnext", depth=50, cardinality=1, base_width=64)
    assert resnext.canonical() == Backbone(family="resnet", depth=50).canonical()
    assert Architecture.named("resnext50_1x64d+cbam").digest == Architecture.named("resnet50+cbam").digest
