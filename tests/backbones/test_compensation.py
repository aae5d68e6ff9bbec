"""Attention put into trained weights changes no output, at whatever position, and what cannot start so is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cbam_search.architecture import ATTENTION_KINDS, FAMILIES, Architecture, AttentionSpec, Backbone, published
from cbam_search.attention.registry import start_as_identity
from cbam_search.backbones.builder import build
from cbam_search.backbones.compensation import block_scales, check_identity_start, starting_constant
from cbam_search.backbones.pretrained import build_pretrained
from cbam_search.errors import ArchitectureError

BACKBONES = {
    "resnet18": Backbone(family="resnet", depth=18, width=0.25, classes=5),
    "resnet50": Backbone(family="resnet", depth=50, width=0.25, variant="v1.5", classes=5),
    "resnext50": Backbone(family="resnext", depth=50, width=0.25, cardinality=2, base_width=8, classes=5),
    "mobilenet": Backbone(family="mobilenet", depth=18, width=0.25, classes=5),
    "cifar_resnet": Backbone(family="cifar_resnet", depth=20, width=0.5, stem="cifar", classes=5),
}
WIDE = Backbone(family="cifar_resnet", depth=8, width=4.0, stem="cifar", classes=5)
BY_KIND = [ATTENTION_KINDS[kind].model_validate({"kind": kind}) for kind in ATTENTION_KINDS]
CBAMS = [
    {"spatial_kernel_size": None},
    {"order": "spatial_first", "channel_mlp": "per_pool"},
    {"order": "parallel", "spatial_descriptor": "conv"},
    {"pools": ("avg", "max", "lp", "lse"), "channel_mlp": "per_pool", "spatial_kernel_size": 3},
]
SPECS = [*BY_KIND, *(ATTENTION_KINDS["cbam"].model_validate({"kind": "cbam", **changes}) for changes in CBAMS)]


def trained(backbone: Backbone, seed: int = 0) -> nn.Module:
    """A bare network as training leaves one: weights of all batch norms, and statistics, away from where they began."""
    torch.manual_seed(seed)
    network = build(Architecture(backbone=backbone))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 1.2)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = None  # the mean of all batches seen
    with torch.no_grad():
        network(torch.randn(16, backbone.in_channels, 48, 48))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return network.eval()


def at_position(backbone: Backbone, spec: AttentionSpec, position: str) -> Architecture:
    sites = [site for site in backbone.sites if position in site.positions]
    assert sites
    return Architecture(backbone=backbone, attention={site.name: spec for site in sites})


def difference(found: Tensor, expected: Tensor) -> float:
    """Of all logits, relative."""
    return ((found - expected).norm() / expected.norm()).item()


CASES = [(name, position) for name, backbone in BACKBONES.items() for position in FAMILIES[backbone.family].positions]


@pytest.fixture
def _double() -> Iterator[None]:
    """So that what is left is rounding alone; the networks of these tests amplify it a hundredfold."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize(("name", "position"), CASES, ids=lambda value: value)
def test_outputs_are_those_of_the_bare_network(name: str, position: str) -> None:
    bare = trained(BACKBONES[name])
    weights = {key: value.clone() for key, value in bare.state_dict().items()}
    x = torch.randn(4, 3, 33, 33)
    for spec in SPECS:
        network = build_pretrained(at_position(BACKBONES[name], spec, position), weights)
        with torch.no_grad():
            for training in (False, True):  # in training mode the statistics of the batch count
                bare.load_state_dict(weights)
                assert difference(network.train(training)(x), bare.train(training)(x)) < 1e-12, spec
    assert all(torch.equal(value, bare.state_dict()[key]) or "running" in key or "num" in key for key, value in weights.items())


@pytest.mark.parametrize("name", BACKBONES)
def test_in_single_precision_they_are_so_to_a_few_1e_5(name: str) -> None:
    backbone = BACKBONES[name]
    bare, x = trained(backbone), torch.randn(8, 3, 48, 48)
    for spec in SPECS:
        network = build_pretrained(at_position(backbone, spec, backbone.default_position), bare.state_dict()).eval()
        with torch.no_grad():
            assert difference(network(x), bare(x)) < 5e-5, spec


def test_without_compensation_they_are_not() -> None:
    """What the compensation is for: open gates alone add up to a third of a ResNet-50's outputs."""
    backbone = BACKBONES["resnet50"]
    bare = trained(backbone)
    x = torch.randn(8, 3, 48, 48)
    network = build(at_position(backbone, ATTENTION_KINDS["cbam"].model_validate({"kind": "cbam"}), "post"))
    network.load_state_dict(bare.state_dict(), strict=False)
    for module in network.modules():
        if type(module).__name__ == "CBAM":
            start_as_identity(module)
    with torch.no_grad():
        assert difference(network.eval()(x), bare(x)) > 0.05


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(BACKBONES)), data=st.data())
def test_any_mixture_of_kinds_and_positions(name: str, data: st.DataObject) -> None:
    backbone = BACKBONES[name]
    attention = {site.name: data.draw(st.sampled_from([None, *SPECS])) for site in backbone.sites}
    bare, x = trained(backbone), torch.randn(2, 3, 48, 48)
    network = build_pretrained(Architecture(backbone=backbone, attention=attention), bare.state_dict()).eval()
    with torch.no_grad():
        assert difference(network(x), bare(x)) < 1e-4


def test_the_bare_network_keeps_its_very_weights() -> None:
    bare = trained(BACKBONES["resnet18"])
    again = build_pretrained(Architecture(backbone=BACKBONES["resnet18"]), bare.state_dict())
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in bare.state_dict().items())


@pytest.mark.parametrize("spec", BY_KIND, ids=lambda spec: spec.kind)
def test_every_parameter_learns(spec: AttentionSpec) -> None:
    backbone = WIDE
    network = build_pretrained(at_position(backbone, spec, "branch_end"), trained(backbone).state_dict()).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    for step in range(2):
        torch.manual_seed(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(torch.randn(32, 3, 16, 16)), torch.arange(32) % 5).backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
        optimizer.step()
    silent = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    assert not [name for name in silent if "branch_end" in name and name.endswith("weight")]


def test_the_stated_constants() -> None:
    stated = {"se": 0.9933, "cbam": 0.9867, "eca": 0.5, "bam": 1.0067, "gc": 1.0, "coordinate": 0.9867}
    assert {spec.kind: round(starting_constant(spec), 4) for spec in BY_KIND} == stated


def test_attention_costs_and_identity_are_as_without_weights() -> None:
    architecture = published(BACKBONES["resnet18"], "cbam")
    before = (architecture.digest, architecture.canonical_json)
    network = build_pretrained(architecture, trained(BACKBONES["resnet18"]).state_dict())
    assert (architecture.digest, architecture.canonical_json) == before
    assert network.state_dict().keys() == build(architecture).state_dict().keys()


def test_scales_multiply_along_shortcuts_and_end_at_projections() -> None:
    geometry = BACKBONES["resnet18"].geometry()
    constants = {site.name: 0.5 for site in BACKBONES["resnet18"].sites if site.positions[0] == "post"}
    assert [entry.joined for entry in block_scales(geometry, constants)] == [1, 0.5, 1, 0.5, 1, 0.5, 1, 0.5]
    assert [entry.leaves for entry in block_scales(geometry, constants)] == [0.5, 0.25] * 4


def test_what_would_shrink_the_shortcuts_is_refused() -> None:
    eca = ATTENTION_KINDS["eca"].model_validate({"kind": "eca"})
    backbone = BACKBONES["cifar_resnet"]
    for position in ("branch_end", "pre"):
        check_identity_start(at_position(backbone, eca, position))
    for position in ("identity", "post", "stage_end"):
        with pytest.raises(ArchitectureError, match=r"eca as 0\.5 times.*multiply to 0\.\d+; 0\.5 to 2 is allowed"):
            check_identity_start(at_position(backbone, eca, position))
    for spec in BY_KIND:
        if spec.kind != "eca":
            for position in FAMILIES[backbone.family].positions:
                check_identity_start(at_position(backbone, spec, position))


def test_a_module_that_cannot_start_so_is_named() -> None:
    with pytest.raises(ArchitectureError, match="Identity has no method start_as_identity"):
        start_as_identity(nn.Identity())
