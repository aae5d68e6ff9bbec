"""Spaces over a user's own network: arguments are parameters, every site is a unit, and the costs of the space are exact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from own_networks import write_networks

from cbam_search.architecture import Architecture, OwnBackbone
from cbam_search.backbones.tracing import trace
from cbam_search.cost.model import CostModel
from cbam_search.own_code import CodePermission
from cbam_search.search.published import published_designs
from cbam_search.search.space_costs import space_costs
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.space.space import Space

SITES = ["layer1", "layer1.0", "layer2"]


def space_in(folder: Path, arguments: dict[str, Any], **attention: object) -> Space:
    config = OwnBackboneConfig.model_validate({"module": "net:net", "sites": SITES, "arguments": arguments})
    asked: list[Mapping[str, Any]] = []

    def own(settings: Mapping[str, Any]) -> OwnBackbone:
        assert settings not in asked, "asked twice"
        asked.append(dict(settings))
        options: dict[str, Any] = {"in_channels": 1, "classes": 4, "image_size": (12, 12), "folder": folder}
        return trace(config.module, config.sites, settings, **options)

    return Space(config, AttentionConfig.model_validate(attention), in_channels=1, classes=4, own=own)


@pytest.fixture(autouse=True)
def _networks(tmp_path: Path) -> None:
    write_networks(tmp_path)


@pytest.mark.parametrize("per", ["block", "network"])
def test_the_space_is_what_it_says(tmp_path: Path, per: str) -> None:
    space = space_in(tmp_path, {"width": [0.5, 1.0], "stride": [1, 2]}, per=per, kind=["none", "se", "cbam"])
    names = [parameter.name for parameter in space.parameters]
    units = [""] if per == "network" else ["layer1.0.", "layer1.", "layer2."]
    assert names == ["backbone.width", "backbone.stride", *(f"attention.{unit}kind" for unit in units)]
    listed = list(space.enumerate())
    assert len({architecture.digest for architecture in listed}) == space.count() == len(listed) == 4 * 3 ** len(units)
    for architecture in listed:
        values = space.encode(architecture)
        assert values is not None
        assert space.decode(values) == architecture
        assert Architecture.model_validate_json(architecture.model_dump_json()).digest == architecture.digest


def test_costs_of_the_whole_space_are_those_of_its_members(tmp_path: Path) -> None:
    space = space_in(tmp_path, {"width": [0.5, 1.0], "stride": [1, 2]}, kind=["none", "se", "cbam"], spatial_kernel_size=[3, 7])
    model = CostModel((12, 12), code=CodePermission(tmp_path))
    cost = model.cost
    summed = space_costs(space, model)
    members = [cost(architecture) for architecture in space.enumerate()]
    assert summed.count == len(members)
    for name in ("gflops", "params"):
        values = sorted(getattr(member, name) for member in members)
        assert summed.range(name) == (values[0], values[-1])
        assert summed.quantiles(name, (0.5,))[0][0] == values[(len(values) - 1) // 2]


def test_published_designs_are_bare_and_a_kind_after_every_site(tmp_path: Path) -> None:
    space = space_in(tmp_path, {"width": [0.5, 1.0]})
    cost = CostModel((12, 12), code=CodePermission(tmp_path)).cost
    designs = published_designs(space, ("none", "se", "bam"), at_most_backbones=4, cost=cost, bounds={})
    labels = [design.label for design in designs.trained]
    assert labels == [f"net(width={width}){kind}" for width in (0.5, 1.0) for kind in ("", "+se", "+bam")]
    assert [len(design.attention) for design in designs.trained] == [0, 3, 3] * 2
