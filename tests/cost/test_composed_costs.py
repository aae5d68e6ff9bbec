"""The sum of the parts is the whole: for random architectures of every family, kind and position, to the last multiply-add."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cbam_search.architecture import ATTENTION_KINDS, FAMILIES, Architecture, AttentionSpec, Backbone
from cbam_search.cost.cost import measure
from cbam_search.cost.model import CostModel

ARCHITECTURES = 500
IN_ONE_TEST = 50
CHOICES = {
    "reduction_ratio": (1, 2, 3, 4, 8, 16, 32),
    "pools": (("avg",), ("max",), ("avg", "max"), ("avg", "lp", "lse"), ("avg", "max", "lp", "lse")),
    "spatial_kernel_size": (None, 1, 3, 5, 7),
    "order": ("channel_first", "spatial_first", "parallel"),
    "spatial_descriptor": ("pooled", "conv"),
    "channel_mlp": ("shared", "per_pool"),
    "eca_kernel_size": ("auto", 1, 3, 9),
    "dilation": (1, 2, 4),
}
DEPTHS = {"cifar_resnet": (8, 14, 20), "resnet": (18, 34, 50), "resnext": (50,), "mobilenet": (18, 22, 28)}
WIDTHS = {
    "cifar_resnet": (0.25, 0.5, 1.0),
    "resnet": (0.125, 0.3),
    "resnext": (0.25, 0.5),
    "mobilenet": (0.125, 0.25, 0.7),
}


def random_backbone(draw: random.Random, family: str) -> Backbone:
    grouped = {"cardinality": draw.choice((2, 4)), "base_width": 8} if family == "resnext" else {}
    return Backbone(
        family=family,
        depth=draw.choice(DEPTHS[family]),
        width=draw.choice(WIDTHS[family]),
        variant=draw.choice(("v1", "v1.5")),
        stem="cifar" if family == "cifar_resnet" else draw.choice(("imagenet", "cifar")),
        in_channels=draw.choice((1, 3)),
        classes=draw.choice((2, 10, 100)),
        **grouped,
    )


def random_spec(draw: random.Random) -> AttentionSpec:
    kind = ATTENTION_KINDS[draw.choice(ATTENTION_KINDS.names())]
    return kind.model_validate({name: draw.choice(CHOICES[name]) for name in kind.settings()})


def random_architecture(seed: int) -> Architecture:
    """The families in turn; attention of any kind at about a third of all sites, of whatever position."""
    draw = random.Random(seed)
    backbone = random_backbone(draw, FAMILIES.names()[seed % len(FAMILIES.names())])
    sites = [site for site in backbone.sites if draw.random() < 0.3]
    return Architecture(backbone=backbone, attention={site.name: random_spec(draw) for site in sites})


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, ARCHITECTURES, IN_ONE_TEST))
def test_costs_of_random_architectures(first):
    draw = random.Random(first)
    for seed in range(first, first + IN_ONE_TEST):
        architecture = random_architecture(seed)
        size = (draw.randint(1, 40), draw.randint(1, 40))
        found, whole = CostModel(size).cost(architecture), measure(architecture, size)
        assert found == whole, (seed, size)
        assert not whole.unknown


def test_the_random_architectures_have_every_family_kind_and_position():
    drawn = [random_architecture(seed) for seed in range(ARCHITECTURES)]
    assert Counter(entry.backbone.family for entry in drawn) == dict.fromkeys(FAMILIES, ARCHITECTURES // len(FAMILIES.names()))
    for family in FAMILIES:
        placed = [pair for entry in drawn if entry.backbone.family == family for pair in entry.placed]
        assert {spec.kind for _, spec in placed} == set(ATTENTION_KINDS)
        assert {name for site, _ in placed for name in site.positions} - {"stem"} == set(FAMILIES[family].positions)
