"""Networks of every family: shapes, gradients, published parameter counts, and where attention sits."""

from __future__ import annotations

import pytest
import torch
from architectures import architectures, with_attention
from hypothesis import given, settings
from torch import nn

from cbam_search.architecture import Architecture, Backbone, CbamSpec, SeSpec
from cbam_search.attention.cbam import CBAM
from cbam_search.attention.se import SE
from cbam_search.backbones.blocks import BasicBlock, Bottleneck, PaddingShortcut
from cbam_search.backbones.builder import build
from cbam_search.backbones.separable import SeparableBlock


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
    network = build(with_attention(backbone, (None, None, spec, None, None, SeSpec())))
    found = {name: type(module) for name, module in network.named_modules() if isinstance(module, CBAM | SE)}
    assert found == {"layer2.0.branch_end": CBAM, "layer3.1.branch_end": SE}
    module = network.get_submodule("layer2.0.branch_end")
    assert module.channel_gate.pools == ("lp", "lse")
    assert module.channel_gate.mlp[0].weight.shape == (8, 16)
    assert module.spatial_gate.conv.kernel_size == (3, 3)


class Scaled(nn.Module):
    """Stands for attention: multiplies what it gets."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def bare_and_gated(block: type[nn.Module], place: str, **settings: object) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    channels = (4, 6) if block is SeparableBlock else (4, 4, 6)
    bare, gated = (block(*channels, **settings, **attention).eval() for attention in ({}, {place: Scaled(3.0)}))
    gated.load_state_dict(bare.state_dict())
    return bare, gated


def calm(network: nn.Module, block: type[nn.Module]) -> nn.Module:
    """With a branch that stays near 1, so that the last ReLU never cuts anything off."""
    last = network.bn2 if block is BasicBlock else network.bn3
    last.weight.data.fill_(0.01)
    last.bias.data.fill_(1.0)
    return network


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
class TestPlacesInAResidualBlock:
    """As figure 5 of the SE paper has them. The last ReLU does nothing to a large shortcut beside a small branch."""

    X = 10 + torch.rand(1, 4, 6, 6)

    def branch_and_shortcut(self, block, place):
        bare, gated = bare_and_gated(block, place, shortcut="padding")
        for network in (bare, gated):
            calm(network, block)
        shortcut = bare.downsample(self.X)
        return bare(self.X) - shortcut, gated(self.X), shortcut

    def test_branch_end_scales_the_branch_alone(self, block):
        branch, found, shortcut = self.branch_and_shortcut(block, "branch_end")
        torch.testing.assert_close(found, 3 * branch + shortcut)

    def test_identity_scales_the_shortcut_alone(self, block):
        branch, found, shortcut = self.branch_and_shortcut(block, "identity")
        torch.testing.assert_close(found, branch + 3 * shortcut)

    def test_post_scales_both(self, block):
        branch, found, shortcut = self.branch_and_shortcut(block, "post")
        torch.testing.assert_close(found, 3 * (branch + shortcut))

    def test_pre_scales_what_enters_the_branch(self, block):
        _, found, shortcut = self.branch_and_shortcut(block, "pre")
        bare, _ = bare_and_gated(block, "pre", shortcut="padding")
        threefold = calm(bare, block)(3 * self.X) - bare.downsample(3 * self.X)
        torch.testing.assert_close(found, threefold + shortcut, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", ["depthwise", "pointwise", "post"])
def test_places_in_a_separable_block(place):
    bare, gated = bare_and_gated(SeparableBlock, place, stride=2)
    x = torch.rand(2, 4, 7, 6)
    if place == "depthwise":
        bare.bn1.weight.data *= 3.0
        bare.bn1.bias.data *= 3.0
    expected = bare(x) if place == "depthwise" else 3 * bare(x)
    assert expected.shape == (2, 6, 4, 3)
    torch.testing.assert_close(gated(x), expected)


@pytest.mark.parametrize("name", ["cifar_resnet8", "resnet18", "mobilenet18_0.25"])
def test_every_site_is_reached_once_with_its_channels_and_map(name):
    backbone = Architecture.named(name, classes=10).backbone
    for site in backbone.sites:
        network = build(Architecture(backbone=backbone, attention={site.name: SeSpec()})).eval()
        seen: list[tuple[int, ...]] = []
        module = next(module for module in network.modules() if isinstance(module, SE))
        module.register_forward_hook(lambda _module, inputs, _output, seen=seen: seen.append(tuple(inputs[0].shape)))
        network(torch.rand(1, 3, 33, 20))
        assert [shape[1] for shape in seen] == [site.channels], site


def test_the_published_shallow_mobilenet_lacks_five_blocks():
    """Table 5 of the MobileNet paper: 2.9 million parameters and 307 million multiply-adds; the whole network 4.2 and 569."""
    with torch.device("meta"):
        shallow, whole = (params(build(Architecture.named(name))) for name in ("mobilenet18_1.0", "mobilenet_1.0"))
    assert f"{shallow / 1e6:.1f}" == "2.9"
    assert f"{whole / 1e6:.1f}" == "4.2"


def test_padding_shortcut_takes_every_second_pixel_and_adds_zero_channels():
    x = torch.arange(18.0).reshape(1, 2, 3, 3)
    y = PaddingShortcut(new_channels=3, stride=2)(x)
    assert y.shape == (1, 5, 2, 2)
    assert y[0, 0].tolist() == [[0, 2], [6, 8]]
    assert not y[0, 2:].any()


@pytest.mark.parametrize(("variant", "strides"), [("v1", [2, 1, 1]), ("v1.5", [1, 2, 1])])
def test_variant_says_which_convolution_carries_the_stride(variant, strides):
    backbone = Backbone(family="resnet", depth=50, width=0.0625, variant=variant)
    block = build(Architecture(backbone=backbone)).get_submodule("layer2.0")
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
