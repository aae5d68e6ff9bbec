"""Flat parameters, decoding and encoding, counting: by brute force on small spaces and by hypothesis on any."""

from __future__ import annotations

from itertools import product

import pytest
from architectures import with_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import assignments, spaces

from cbam_search.architecture import ATTENTION_KINDS, Architecture, CbamSpec, SeSpec
from cbam_search.architecture.sites import RESIDUAL_POSITIONS
from cbam_search.errors import SpaceError
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space


def space_of(backbone: dict[str, object], attention: dict[str, object]) -> Space:
    return Space(BackboneConfig(**backbone), AttentionConfig(**attention), in_channels=3, classes=10)


SMALL = space_of(
    {"family": "cifar_resnet", "depth": [8, 14], "width": [0.25, 0.5]},
    {"per": "stage", "reduction_ratio": [4, 16], "spatial_kernel_size": ["none", 3], "pools": [["avg"], ["max", "avg"]]},
)
LARGE = space_of(
    {"family": "resnet", "depth": [18, 50], "variant": ["v1", "v1.5"]},
    {
        "reduction_ratio": [2, 4, 8, 16],
        "pools": {"from": ["avg", "max", "lp", "lse"]},
        "spatial_kernel_size": [3, 5, 7],
    },
)


def test_names_and_choices_of_the_flat_set() -> None:
    names = [parameter.name for parameter in SMALL.parameters]
    assert names[:2] == ["backbone.depth", "backbone.width"]
    assert names[2:6] == [
        "attention.s0.kind",
        "attention.s0.reduction_ratio",
        "attention.s0.pools",
        "attention.s0.spatial_kernel_size",
    ]
    assert {parameter.name: parameter.choices for parameter in SMALL.parameters}["attention.s2.pools"] == ("avg", "avg+max")


def test_a_single_choice_is_no_parameter() -> None:
    only = space_of({"family": "cifar_resnet", "depth": 8}, {"per": "network", "kind": ["none", "se"]})
    assert [parameter.name for parameter in only.parameters] == ["attention.kind"]


def test_settings_that_no_kind_reads_are_no_parameters() -> None:
    only = space_of(
        {"family": "cifar_resnet", "depth": 8}, {"per": "network", "kind": ["none", "se"], "spatial_kernel_size": [3, 7]}
    )
    assert [parameter.name for parameter in only.parameters] == ["attention.kind"]


def test_without_a_ratio_each_kind_has_its_published_one() -> None:
    kinds = ["none", *(kind for kind in ATTENTION_KINDS if kind != "bam")]  # BAM's published place is another
    space = space_of({"family": "resnet", "depth": 50}, {"per": "network", "kind": kinds})
    assert [(parameter.name, parameter.choices) for parameter in space.parameters] == [("attention.kind", tuple(kinds))]
    for kind in kinds:
        name = "resnet50" if kind == "none" else f"resnet50+{kind}"
        assert space.decode({"attention.kind": kind}).digest == Architecture.named(name, classes=10).digest


def test_a_kind_counts_the_settings_that_it_reads_alone() -> None:
    space = space_of(
        {"family": "resnet", "depth": 50},
        {
            "per": "network",
            "kind": ["none", *ATTENTION_KINDS],
            "reduction_ratio": [16, 32],
            "pools": [["avg", "max"], ["max"]],
            "spatial_kernel_size": [3, 5, 7],
            "eca_kernel_size": ["auto", 3, 5, 7, 9],
            "dilation": [2, 4],
        },
    )
    counts = {"none": 1, "se": 2, "cbam": 2 * 2 * 3, "eca": 5, "bam": 2 * 2, "gc": 2, "coordinate": 2}
    assert space.count() == sum(counts.values()) == sum(1 for _ in space.enumerate())


def test_count_is_that_of_decoding_every_assignment() -> None:
    assignments = product(*(parameter.choices for parameter in SMALL.parameters))
    names = [parameter.name for parameter in SMALL.parameters]
    digests = {SMALL.decode(dict(zip(names, values, strict=True))).digest for values in assignments}
    enumerated = [architecture.digest for architecture in SMALL.enumerate()]
    assert SMALL.count() == len(digests) == len(enumerated) == len(set(enumerated))
    assert set(enumerated) == digests


def test_positions_are_choices_of_each_unit() -> None:
    everywhere = list(RESIDUAL_POSITIONS)
    space = space_of({"family": "cifar_resnet", "depth": 14}, {"per": "block", "kind": ["none", "se"], "position": everywhere})
    choices = {parameter.name: parameter.choices for parameter in space.parameters}
    assert choices["attention.s0b0.position"] == tuple(everywhere)
    # Of a block: nothing, or SE at one of four places; that after the last block of a stage is the stage's end, too.
    assert space.count() == 5**6
    values = {name: allowed[0] for name, allowed in choices.items()} | {"attention.s1b1.kind": "se"}
    placed = {position: space.decode(values | {"attention.s1b1.position": position}).attention for position in everywhere}
    assert [name for name, _ in placed["pre"]] == ["s1b1.pre"]
    assert placed["stage_end"] == placed["post"] == (("s1b1.post", SeSpec()),)
    # In a block that ends no stage, the stage's end places nothing.
    inner = values | {"attention.s1b1.kind": "none", "attention.s1b0.kind": "se", "attention.s1b0.position": "stage_end"}
    assert space.decode(inner).attention == ()


def test_only_blocks_that_end_a_stage_have_a_choice_of_what_sits_there() -> None:
    space = space_of({"family": "resnet", "depth": [18, 50]}, {"kind": ["none", "bam"], "position": "stage_end"})
    assert sorted(space.units) == ["s0b1", "s0b2", "s1b1", "s1b3", "s2b1", "s2b5", "s3b1", "s3b2"]
    assert space.count() == 2 * 2**4
    assert space.encode(Architecture.named("resnet50+bam", classes=10)) is not None


def test_a_mobilenet_has_its_published_design_in_its_default_space() -> None:
    space = space_of({"family": "mobilenet", "width": [0.5, 1.0]}, {"kind": ["none", "se", "cbam"]})
    assert space.units[:3] == ("stem", "s0b0", "s1b0")
    assert len(space.units) == 14
    assert space.encode(Architecture.named("mobilenet_0.5+cbam", classes=10)) is not None
    assert space.count() == 2 * 3**14


def test_a_huge_space_is_counted_at_once_and_exactly() -> None:
    # A site: bare, 4 SE ratios, and CBAM with 4 ratios, 15 pool sets and 3 kernels; 64 channels keep the ratios apart.
    per_site = 1 + 4 + 4 * 15 * 3
    assert LARGE.count() == per_site**8 + 2 * per_site**16


def test_dead_choices_do_not_matter() -> None:
    values = {parameter.name: parameter.choices[0] for parameter in LARGE.parameters}
    values |= {"backbone.depth": 18, "attention.s3b2.kind": "cbam"}
    assert LARGE.decode(values).digest == LARGE.decode(values | {"attention.s3b2.kind": "se"}).digest


@settings(max_examples=100, deadline=None)
@given(spaces(), st.data())
def test_any_assignment_decodes_to_a_canonical_member(space: Space, data: st.DataObject) -> None:
    values = data.draw(assignments(space))
    architecture = space.decode(values)
    assert architecture == architecture.canonical()
    assert Architecture.model_validate_json(architecture.model_dump_json()).digest == architecture.digest
    encoded = space.encode(architecture)
    assert encoded is not None
    assert set(encoded) == set(values)
    assert space.decode(encoded) == architecture


@settings(max_examples=25, deadline=None)
@given(spaces(families=("cifar_resnet",)).filter(lambda space: space.count() < 400))
def test_enumeration_is_complete_and_without_repeats(space: Space) -> None:
    digests = [architecture.digest for architecture in space.enumerate()]
    assert len(digests) == len(set(digests)) == space.count()
    assert all(space.encode(architecture) is not None for architecture in space.enumerate())


def test_what_lies_outside_is_not_encoded() -> None:
    bare = Architecture.named("cifar_resnet8_0.25", classes=10)
    assert SMALL.encode(bare) is not None
    assert SMALL.encode(Architecture.named("cifar_resnet20", classes=10)) is None
    for site, spec in (("s0b0.branch_end", CbamSpec(spatial_kernel_size=7)), ("s0b0.pre", SeSpec(reduction_ratio=4))):
        assert SMALL.encode(Architecture(backbone=bare.backbone, attention={site: spec})) is None
    untied = with_attention(Architecture.named("cifar_resnet14", classes=10).backbone, (SeSpec(), *(None,) * 5))
    assert SMALL.encode(untied) is None


def test_missing_and_wrong_values_are_named() -> None:
    values = {parameter.name: parameter.choices[0] for parameter in SMALL.parameters}
    with pytest.raises(SpaceError, match=r"attention\.s0\.kind.*cbma.*Allowed: none, se, cbam"):
        SMALL.decode(values | {"attention.s0.kind": "cbma"})
    del values["backbone.depth"]
    with pytest.raises(SpaceError, match=r"backbone\.depth.*missing"):
        SMALL.decode(values)
