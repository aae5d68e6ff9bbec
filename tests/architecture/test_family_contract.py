"""What every registered family of backbones promises: geometry, names, and the network built from them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from architectures import backbones
from hypothesis import given

from cbam_search.architecture import FAMILIES, Architecture, Backbone
from cbam_search.backbones.builder import build

NAMES = [name for family in FAMILIES for name in FAMILIES[family].example_names()]


@pytest.mark.parametrize("name", NAMES)
def test_published_names_read_back(name):
    architecture = Architecture.named(name)
    assert architecture.backbone.name == name
    assert architecture.published_name == name
    assert Architecture.named(f"{name}+cbam").published_name == f"{name}+cbam"


@given(backbones)
def test_any_name_reads_back(backbone):
    named = Architecture.named(backbone.name, in_channels=backbone.in_channels, classes=backbone.classes).backbone
    stemmed = Backbone.model_validate(named.model_dump() | {"stem": backbone.stem})
    assert stemmed.canonical() == backbone.canonical()


@given(backbones)
def test_geometry_is_a_chain(backbone):
    geometry = backbone.geometry()
    assert geometry.stem.in_channels == backbone.in_channels
    assert geometry.classes == backbone.classes
    assert geometry.blocks[0].in_channels == geometry.stem.out_channels
    assert geometry.features == geometry.blocks[-1].out_channels
    for first, second in pairwise(geometry.blocks):
        assert second.in_channels == first.out_channels
        assert (second.stage, second.block) in {(first.stage, first.block + 1), (first.stage + 1, 0)}
    for block in geometry.blocks:
        reshapes = block.stride != 1 or block.in_channels != block.out_channels
        assert (block.shortcut == "identity") == (not reshapes and block.kind != "separable")
        assert (block.shortcut == "none") == (block.kind == "separable")
        assert block.mid_channels % block.groups == 0
        assert block.stride == 1 or block.block == 0


@given(backbones)
def test_sites_are_named_once_and_every_position_has_one(backbone):
    names = [site.name for site in backbone.sites]
    assert len(set(names)) == len(names)
    family = FAMILIES[backbone.family]
    assert {position for site in backbone.sites for position in site.positions} - {"stem"} == set(family.positions)
    assert backbone.default_position in family.positions
    blocks = {block.name: block for block in backbone.geometry().blocks}
    ends = [site for site in backbone.sites if "stage_end" in site.positions]
    assert [site.stage for site in ends] == sorted({block.stage for block in blocks.values()})
    for site in backbone.sites:
        if site.block in blocks:
            block = blocks[site.block]
            assert site.stage == block.stage
            assert site.channels == (block.in_channels if site.positions[0] in ("pre", "depthwise") else block.out_channels)
            assert site.before_stride == (site.positions[0] == "pre")


@pytest.mark.parametrize("name", NAMES)
def test_published_designs_build(name):
    with torch.device("meta"):
        network = build(Architecture.named(f"{name}+cbam", classes=10))
        assert network(torch.empty(2, 3, 65, 33)).shape == (2, 10)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("resnet", {"depth": 50, "cardinality": 32}),
        ("resnet", {"depth": 18, "width": 0.01}),
        ("resnext", {"depth": 18}),
        ("resnext", {"depth": 50, "cardinality": 32, "base_width": 4, "width": 0.3}),
        ("cifar_resnet", {"depth": 20, "stem": "imagenet"}),
        ("cifar_resnet", {"depth": 20, "stem": "cifar", "base_width": 4}),
        ("cifar_resnet", {"depth": 2, "stem": "cifar"}),
        ("cifar_resnet", {"depth": 20, "stem": "cifar", "width": 0.05}),
        ("resnet", {"depth": 50, "width": float("nan")}),
        ("resnet", {"depth": 50, "width": -1.0}),
        ("mobilenet", {"depth": 27}),
        ("mobilenet", {"depth": 28, "width": 0.01}),
        ("mobilenet", {"depth": 28, "cardinality": 2}),
        ("vgg", {"depth": 16}),
    ],
)
def test_impossible_settings_are_refused(family, settings):
    with pytest.raises(ValueError):
        Backbone.model_validate({"family": family, **settings})
