"""Networks of every family: shapes, gradients, published parameter counts, and where attention sits."""

from __future__ import annotations

import pytest
import torch
from architectures import architectures
from hypothesis import given, settings
from torch import nn

from cbam_search.architecture import Architecture, Backbone, CbamSpec, SeSpec
from cbam_search.attention.cbam import CBAM
from cbam_search.attention.se import SE
from cbam_search.backbones.blocks import BasicBlock, Bottleneck, PaddingShortcut
from cbam_search.backbones.builder import build


def params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("depth", "expected"), [(20, 269_722), (56, 853_018), (110, 1_727_962)])
def test_cifar_resnets_have_the_published_parameters(depth, expected):
    with torch.device("meta"):
        assert params(build(Architecture.named(f"cifar_resnet{depth}", classes=10))) == expected


@settings(max_examples=15, deadline=None)
@given(architectures())
def test_any_architecture_trains_at_odd_and_tiny_sizes(architecture):
    network = build(architecture)
    for size in ((7, 9), (1, 1)):
        images = torch.randn(4, architecture.backbone.in_channels, *size)
        logits = network(images)
        assert logits.shape == (4, architecture.backbone.classes)
        assert logits.isfinite().all()
        network.zero_grad()
        logits.square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_attention_sits_at_its_site_and_nowhere_else():
    backbone = Backbone(family="cifar_resnet", depth=14, width=0.5, stem="cifar")
    spec = CbamSpec(reduction_ratio=2, pools=("lse", "lp"), spatial_kernel_size=3)
    network = build(Architecture(backbone=backbone, attention=(None, None, spec, None, None, SeSpec())))
    found = {name: type(module) for name, module in network.named_modules() if isinstance(module, CBAM | SE)}
    assert found == {"layer2.0.attention": CBAM, "layer3.1.attention": SE}
    module = network.get_submodule("layer2.0.attention")
    assert module.channel_gate.pools == ("lse", "lp")
    assert module.channel_gate.mlp[0].weight.shape == (8, 16)
    assert module.spatial_gate.conv.kernel_size == (3, 3)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_attention_acts_on_the_branch_before_the_addition(block):
    class Doubling(nn.Module):
        def forward(self, x):
            return 2 * x

    torch.manual_seed(0)
    bare, gated = block(4, 4, 4).eval(), block(4, 4, 4, attention=Doubling()).eval()
    for parameter in bare.parameters():
        parameter.data *= 0.1  # a small branch, so that the last ReLU does nothing
    gated.load_state_dict(bare.state_dict())
    x = 10 + torch.rand(1, 4, 5, 5)
    torch.testing.assert_close(gated(x) - x, 2 * (bare(x) - x), rtol=1e-3, atol=1e-3)


def test_padding_shortcut_takes_every_second_pixel_and_adds_zero_channels():
    x = torch.arange(18.0).reshape(1, 2, 3, 3)
    y = PaddingShortcut(new_channels=3, stride=2)(x)
    assert y.shape == (1, 5, 2, 2)
    assert y[0, 0].tolist() == [[0, 2], [6, 8]]
    assert not y[0, 2:].any()


@pytest.mark.parametrize(("variant", "strides"), [("v1", [2, 1, 1]), ("v1.5", [1, 2, 1])])
def test_variant_says_which_convolution_carries_the_stride(variant, strides):
    backbone = Backbone(family="resnet", depth=50, width=0.0625, variant=variant)
    block = build(Architecture(backbone=backbone, attention=(None,) * 16)).get_submodule("layer2.0")
    assert [conv.stride[0] for conv in (block.conv1, block.conv2, block.conv3)] == strides


def test_names_are_torchvisions():
    with torch.device("meta"):
        names = set(build(Architecture.named("resnet50")).state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv3.weight", "layer1.0.downsample.0.weight"} <= names
    assert {"layer1.0.downsample.1.bias", "layer4.2.bn3.weight", "fc.weight", "fc.bias"} <= names
    assert len(names) == 320  # as torchvision's resnet50


def test_channels_last_gives_the_same_logits():
    network = build(Architecture.named("cifar_resnet8+cbam", classes=10)).eval()
    images = torch.randn(2, 3, 16, 16)
    expected = network(images)
    found = network.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)


def test_the_same_seed_builds_the_same_network():
    architecture = Architecture.named("cifar_resnet8+cbam")
    first, second = (torch.manual_seed(3) and build(architecture).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
