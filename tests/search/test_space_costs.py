"""Costs over a whole space: by enumerating small ones, and by what is known of published designs."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbam_search.architecture import Architecture, published
from cbam_search.architecture.sites import RESIDUAL_POSITIONS
from cbam_search.cost.model import CostModel
from cbam_search.search.feasibility import excess, known_values
from cbam_search.search.reference import BEYOND_THE_WORST, objective_axes
from cbam_search.search.space_costs import AXES, space_costs
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@cache
def cost_model(size: int) -> CostModel:
    return CostModel((size, size))


def space_of(family: str, depth: list[int], *, width: float = 1.0, **attention: object) -> Space:
    backbone = BackboneConfig.model_validate({"family": family, "depth": depth, "width": [0.25, width]})
    return Space(backbone, AttentionConfig.model_validate(attention), in_channels=3, classes=10)


small_spaces = st.builds(
    space_of,
    st.just("cifar_resnet"),
    st.sampled_from([[8], [8, 14]]),
    width=st.sampled_from([0.125, 0.5]),
    per=st.sampled_from(["network", "stage"]),
    kind=st.lists(st.sampled_from(["none", "se", "cbam"]), min_size=1, max_size=3, unique=True),
    reduction_ratio=st.lists(st.sampled_from([1, 4, 16]), min_size=1, max_size=2, unique=True),
    pools=st.sampled_from([[["avg"]], [["avg", "max"], ["max"]]]),
    spatial_kernel_size=st.sampled_from([[7], ["none", 3]]),
    position=st.none() | st.lists(st.sampled_from(list(RESIDUAL_POSITIONS)), min_size=1, max_size=2, unique=True),
    channel_mlp=st.sampled_from([["shared"], ["shared", "per_pool"]]),
)


@settings(max_examples=25, deadline=None)
@given(small_spaces, st.data())
def test_small_spaces_by_enumeration(space: Space, data: st.DataObject) -> None:
    model = cost_model(8)
    cost = model.cost
    found = space_costs(space, model)
    every = [cost(architecture) for architecture in space.enumerate()]
    assert found.count == len(every) == space.count()
    for name in AXES:
        values = sorted(known_values(entry)[name] for entry in every)
        assert found.range(name) == (values[0], values[-1])
        expected = tuple(values[-(-Fraction(str(share)) * len(values) // 1) - 1] for share in QUANTILES)
        assert found.quantiles(name, QUANTILES) == (expected, 0.0)
    drawn = known_values(data.draw(st.sampled_from(every)))
    for bounds in ({}, {"gflops": drawn["gflops"]}, {"params": drawn["params"]}, drawn):
        left = sum(excess(entry, bounds) == 0 for entry in every)
        least, most = found.share_within(bounds)
        assert least == pytest.approx(left / len(every), rel=1e-12)
        assert most == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("per", ["network", "stage", "block"])
def test_the_ends_are_those_of_the_objectives_axes(per: str) -> None:
    space = space_of("resnet", [18, 50], per=per, kind=["none", "se", "cbam"], reduction_ratio=[4, 16], pools=[["avg", "max"]])
    model = cost_model(64)
    cost = model.cost
    found = space_costs(space, model)
    axes = objective_axes(
        {"accuracy": "max", **dict.fromkeys(AXES, "min")},
        space=space,
        cost=model,
        bounds={},
        validation_labels=np.array([0, 1]),
    )
    references = {axis.name: axis.reference for axis in axes}
    for name in AXES:
        assert BEYOND_THE_WORST * found.range(name)[1] == references[name]
        bare = [known_values(cost(published(backbone, None)))[name] for backbone in space.backbones]
        assert found.range(name)[0] == min(bare)


def test_one_published_kind_everywhere_is_a_space_of_two_published_designs() -> None:
    """At 224 x 224: the paper's table 4, with nothing or CBAM in the whole network."""
    backbone = BackboneConfig(family="resnet", depth=50)
    space = Space(backbone, AttentionConfig(per="network", kind=("none", "cbam")), in_channels=3, classes=1000)
    found = space_costs(space, CostModel((224, 224)))
    assert found.count == 2
    assert [round(value, 3) for value in found.range("gflops")] == [3.858, 3.864]
    assert [round(value / 1e6, 2) for value in found.range("params")] == [25.56, 28.09]
    assert found.share_within({"gflops": 3.86}) == (0.5, 0.5)


@pytest.mark.slow
def test_a_space_of_ten_to_the_thirtieth_against_random_architectures() -> None:
    """Quantiles and shares lie where those of independent draws do, within four standard errors of so many."""
    space = space_of("cifar_resnet", [32], width=0.5, reduction_ratio=[2, 4, 8], spatial_kernel_size=[3, 5, 7])
    model = cost_model(32)
    cost = model.cost
    found = space_costs(space, model)
    assert found.count == space.count() > 10**15
    entry = found.backbones[-1]
    drawn = [known_values(cost(architecture)) for architecture in _draws(space, 4000)]
    for name in AXES:
        middle = found.backbones[-1].distribution(name).quantile(0.5)
        scale = {"gflops": 1e9, "params": 1.0}[name]
        bare = known_values(cost(published(entry.backbone, None)))[name]
        below = sum(values[name] <= bare + middle / scale for values in drawn) / len(drawn)
        assert abs(below - 0.5) < 4 * 0.5 / len(drawn) ** 0.5
    bounds = {name: sorted(values[name] for values in drawn)[2000] for name in AXES}
    least, most = entry.share_within(bounds)
    share = sum(all(values[name] <= bounds[name] for name in AXES) for values in drawn) / len(drawn)
    assert 0 <= most - least < 0.02
    assert least - 4 * 0.5 / len(drawn) ** 0.5 < share < most + 4 * 0.5 / len(drawn) ** 0.5


def _draws(space: Space, number: int) -> list[Architecture]:
    """Architectures on the last backbone, each distinct one equally likely."""
    draw = random.Random(0)
    backbone = space.backbones[-1]
    options = space.options(backbone)
    return [
        space.with_options(backbone, {unit: draw.choice(offered) for unit, offered in options.items()}) for _ in range(number)
    ]
