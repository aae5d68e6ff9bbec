"""Designs of another study in this one's space: themselves where they can be, else the nearest, always of the space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from architectures import architectures, with_attention
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studies import StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.architecture import Architecture, Backbone, CbamSpec, OwnBackbone, OwnSite, SeSpec, published
from cbam_search.records.trials import Origin
from cbam_search.search.config import SearchConfig
from cbam_search.search.warm_start import WarmStartMapping, _relative
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.space.space import Space


def space(family: str = "cifar_resnet", *, classes: int = 10, in_channels: int = 1, **changes: Any) -> Space:
    usual: dict[str, Any] = {"depth": [8, 14], "width": [0.25, 0.5]} if family == "cifar_resnet" else {}
    backbone = {key: changes.pop(key) for key in ("depth", "width", "variant", "stem") if key in changes}
    return Space(
        BackboneConfig.model_validate({"family": family, **usual, **backbone}),
        AttentionConfig.model_validate(changes),
        in_channels=in_channels,
        classes=classes,
    )


RICH: dict[str, Any] = {
    "kind": ["none", "se", "cbam", "eca"],
    "position": ["branch_end", "post"],
    "reduction_ratio": [2, 8],
    "spatial_kernel_size": [3, 7],
    "pools": {"from": ["avg", "max"]},
}
SPACES = {
    "block": space(**RICH),
    "stage": space(per="stage", **RICH),
    "network": space(per="network", **RICH),
    "deep": space("resnet", depth=[18, 34], width=[0.25], kind=["none", "cbam"]),
    "mobile": space("mobilenet", depth=[18, 28], width=[0.25], kind=["none", "se"], reduction_ratio=[4, 16]),
    "no bare": space(kind=["se"], position=["stage_end"]),
}
MAPPINGS = {name: WarmStartMapping(entry) for name, entry in SPACES.items()}
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)


@pytest.mark.parametrize("name", list(SPACES))
@relaxed
@given(architecture=architectures())
def test_whatever_comes_is_mapped_into_the_space(name: str, architecture: Architecture) -> None:
    here = MAPPINGS[name].map(architecture)
    assert SPACES[name].encode(here) is not None
    assert here == here.canonical()
    assert MAPPINGS[name].map(here) == here


@pytest.mark.parametrize("name", list(SPACES))
@relaxed
@given(data=st.data())
def test_what_the_space_has_is_itself_whatever_the_images_and_classes(name: str, data: st.DataObject) -> None:
    searched = SPACES[name]
    values = {entry.name: data.draw(st.sampled_from(entry.choices)) for entry in searched.parameters}
    design = searched.decode(values)
    elsewhere = design.backbone.model_copy(update={"in_channels": 3, "classes": 7})
    assert MAPPINGS[name].map(Architecture(backbone=elsewhere, attention=dict(design.attention))) == design


@pytest.mark.parametrize("name", ["block", "mobile", "deep"])
@relaxed
@given(data=st.data())
def test_block_by_block_too_the_same_backbone_is_left_as_it_is(name: str, data: st.DataObject) -> None:
    """Not by the short way for what the space has."""
    searched, mapping = SPACES[name], MAPPINGS[name]
    values = {entry.name: data.draw(st.sampled_from(entry.choices)) for entry in searched.parameters}
    design = searched.decode(values)
    wanted = mapping._wanted_specs(design, design.backbone)
    options = searched.options(design.backbone)
    chosen = {unit: mapping._option(options[unit], searched.sites_of(design.backbone, unit), wanted) for unit in options}
    assert searched.with_options(design.backbone, chosen) == design


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("cifar_resnet20", "cifar_resnet14_0.5"),
        ("resnet50", "cifar_resnet14_0.5"),
        ("mobilenet_1.0", "cifar_resnet14_0.5"),
    ],
)
@pytest.mark.parametrize("kind", [None, "se", "cbam"])
def test_published_designs_stay_published(source: str, target: str, kind: str | None) -> None:
    searched = space(depth=14, width=0.5)
    design = published(Architecture.named(source).backbone, kind)
    assert WarmStartMapping(searched).map(design).label == target + (f"+{kind}" if kind else "")


def test_a_resnet_design_has_attention_at_every_norm_of_a_mobilenet() -> None:
    searched = space("mobilenet", depth=18, width=0.25)
    here = WarmStartMapping(searched).map(Architecture.named("resnet18+cbam"))
    assert here.label == "mobilenet18_0.25+cbam"


def test_blocks_go_by_their_relative_place_in_the_stage() -> None:
    """Three blocks a stage here, five there: first to first, last to last."""
    se = SeSpec(reduction_ratio=16)
    there = Backbone(family="cifar_resnet", depth=32, stem="cifar", in_channels=1, classes=10)  # 5 blocks a stage
    first_and_fourth = with_attention(there, [*[se, None, None, se, None], *[None] * 5, *[None, None, None, None, se]])
    here = WarmStartMapping(space(depth=20, width=1.0, kind=["none", "se"])).map(first_and_fourth)
    assert [name for name, _ in here.attention] == ["s0b0.branch_end", "s2b2.branch_end"]


def test_stages_go_by_their_relative_place_where_their_number_differs() -> None:
    se = SeSpec(reduction_ratio=16)
    there = Backbone(family="resnet", depth=18)  # 4 stages of 2
    design = with_attention(there, [se, se, None, None, None, None, se, None])
    here = WarmStartMapping(space(depth=14, width=1.0, kind=["none", "se"])).map(design)  # 3 stages of 2
    assert [name for name, _ in here.attention] == ["s0b0.branch_end", "s0b1.branch_end", "s2b0.branch_end"]


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("there", range(1, 8))
def test_relative_places_keep_order_and_ends(count: int, there: int) -> None:
    indices = [_relative(index, count, there) for index in range(count)]
    assert indices == sorted(indices)
    assert indices[-1] == there - 1
    assert count == 1 or indices[0] == 0
    assert count != there or indices == list(range(count))


def test_settings_go_to_the_nearest_offered() -> None:
    searched = space(
        depth=8, width=1.0, kind=["none", "cbam"], reduction_ratio=[2, 8], spatial_kernel_size=[3, 7], pools=[["avg", "max"]]
    )
    there = Backbone(family="cifar_resnet", depth=8, stem="cifar", in_channels=1, classes=10)
    design = with_attention(there, [None, CbamSpec(reduction_ratio=5, pools=("max",), spatial_kernel_size=9), SeSpec()])
    here = dict(WarmStartMapping(searched).map(design).attention)
    assert set(here) == {"s1b0.branch_end", "s2b0.branch_end"}
    assert (here["s1b0.branch_end"].reduction_ratio, here["s1b0.branch_end"].spatial_kernel_size) == (8, 7)
    assert here["s2b0.branch_end"].kind == "cbam"  # the only kind there is here


def test_a_position_that_is_not_offered_becomes_the_usual_one() -> None:
    there = Backbone(family="cifar_resnet", depth=8, stem="cifar", in_channels=1, classes=10)
    design = with_attention(there, [SeSpec(), None, None], "pre")
    for offered, expected in (
        (["post", "branch_end"], "branch_end"),
        (["post", "identity"], "post"),
        (["pre", "post"], "pre"),
    ):
        here = WarmStartMapping(space(depth=8, width=1.0, kind=["none", "se"], position=offered)).map(design)
        assert [name for name, _ in here.attention] == [f"s0b0.{expected}"]


def test_a_unit_of_several_blocks_takes_what_most_of_them_have() -> None:
    there = Backbone(family="cifar_resnet", depth=20, stem="cifar", in_channels=1, classes=10)
    design = with_attention(there, [SeSpec(), SeSpec(), None, SeSpec(), None, None, None, None, None])
    here = WarmStartMapping(space(depth=20, width=1.0, kind=["none", "se"], per="stage")).map(design)
    assert {name.partition("b")[0] for name, _ in here.attention} == {"s0"}
    network = WarmStartMapping(space(depth=20, width=1.0, kind=["none", "se"], per="network")).map(design)
    assert network.attention == ()


def test_the_backbone_is_the_nearest_by_depth_and_width() -> None:
    mapping = WarmStartMapping(space(depth=[8, 14, 56], width=[0.25, 1.0]))
    for name, expected in (
        ("cifar_resnet20", "cifar_resnet14"),
        ("cifar_resnet56_0.25", "cifar_resnet56_0.25"),
        ("cifar_resnet110_0.25", "cifar_resnet56_0.25"),
    ):
        assert mapping.map(Architecture.named(name)).label == expected
    assert WarmStartMapping(space("resnet", depth=[18, 152])).map(Architecture.named("cifar_resnet20")).label == "resnet18"


def own(names: list[str], source: str = "1", **arguments: Any) -> OwnBackbone:
    sites = tuple(OwnSite(name=name, channels=16) for name in names)
    return OwnBackbone(
        module="net:net", arguments=tuple(arguments.items()), source=source, attention_after=sites, in_channels=1, classes=10
    )


def own_space(names: list[str], depths: list[int]) -> Space:
    return Space(
        OwnBackboneConfig.model_validate({"module": "net:net", "sites": names, "arguments": {"depth": depths}}),
        AttentionConfig.model_validate({"kind": ["none", "se"]}),
        in_channels=1,
        classes=10,
        own=lambda arguments: own(names, "2", **arguments),
    )


def test_own_networks_map_along_their_whole_length() -> None:
    mapping = WarmStartMapping(own_space(["a", "b", "c", "d"], [1, 2]))
    se = SeSpec(reduction_ratio=16)
    edited = Architecture(backbone=own(["a", "b", "c", "d"], "1", depth=2), attention={"b": se})
    here = mapping.map(edited)
    assert (dict(here.backbone.arguments), [name for name, _ in here.attention]) == ({"depth": 2}, ["b"])
    resnet = Backbone(family="cifar_resnet", depth=8, stem="cifar", in_channels=1, classes=10)  # 3 blocks
    assert [name for name, _ in mapping.map(with_attention(resnet, [None, None, se])).attention] == ["d"]
    back = WarmStartMapping(space(depth=8, width=1.0, kind=["none", "se"])).map(edited)
    assert back.attention == ()  # of four places the second is nearest to none of three
    third = Architecture(backbone=edited.backbone, attention={"c": se})
    back = WarmStartMapping(space(depth=8, width=1.0, kind=["none", "se"])).map(third)
    assert [name for name, _ in back.attention] == ["s1b0.branch_end"]


def test_they_are_trained_after_the_published_designs_and_before_the_sampler(tmp_path: Path) -> None:
    searched = space_of(kind=["none", "se"], per="network")
    baselines = tuple(published(searched.backbones[0], kind) for kind in (None, "se"))
    members = (published(searched.backbones[1], "se"), baselines[1], published(searched.backbones[2], None))
    bench = StudyBench(
        new_folder(tmp_path, manifest_of(trials=6)),
        searched,
        SearchConfig(trials=6, sampler="random"),
        published=baselines,
        warm_start=members,
    )
    bench.run(landscape, workers=1, at_most=3)
    bench.restart()
    bench.run(landscape, workers=1)
    trained = [trial for trial in bench.records.trials.values() if trial.was_trained]
    assert [trial.candidate.origin for trial in trained] == [
        *[Origin.PUBLISHED] * 2,
        *[Origin.WARM_START] * 2,
        *[Origin.SAMPLER] * 2,
    ]
    assert [trial.candidate.digest for trial in trained[2:4]] == [members[0].digest, members[2].digest]
    assert all(trial.candidate.in_space for trial in trained[2:4])
