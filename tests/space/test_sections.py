"""The sections `backbone` and `attention`: what is taken, what is refused, and in which words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cbam_search.architecture import ATTENTION_KINDS
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig


def test_one_value_needs_no_list() -> None:
    config = BackboneConfig(family="resnet", depth=18, width=1.5)
    assert (config.depth, config.width) == ((18,), (1.5,))


def test_combinations_cover_every_choice() -> None:
    config = BackboneConfig(family="resnext", depth=[50, 101], cardinality=[32, 64])
    assert [(row["depth"], row["cardinality"]) for row in config.combinations()] == [(50, 32), (50, 64), (101, 32), (101, 64)]
    assert all(row["base_width"] == 4 for row in config.combinations())


@pytest.mark.parametrize(
    ("settings", "where", "message"),
    [
        ({"family": "resnett", "depth": 18}, "family", "Did you mean 'resnet'"),
        ({"family": "mobilenet", "depth": 19}, "depth", "no depth 19"),
        ({"family": "resnet"}, "depth", "needs a depth"),
        ({"family": "cifar_resnet", "depth": [20, 21]}, "depth", "no depth 21"),
        ({"family": "resnet", "depth": []}, "depth", "at least one"),
        ({"family": "resnet", "depth": [18, 18]}, "depth", "listed twice"),
        ({"family": "resnet", "depth": 18, "width": 0}, "width", "greater than 0"),
        ({"family": "resnet", "depth": 18, "width": 0.001}, "width", "leaves no channel"),
        ({"family": "resnet", "depth": 18, "cardinality": 32}, "cardinality", "family resnext has"),
        ({"family": "resnext", "depth": 50, "width": 0.3}, "width", "32 groups cannot share evenly"),
        ({"family": "cifar_resnet", "depth": 20, "stem": "imagenet"}, "stem", "stem 'cifar'"),
    ],
)
def test_backbones_refused(settings: dict[str, object], where: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BackboneConfig(**settings)
    error = caught.value.errors()[0]
    assert ".".join(map(str, error["loc"])).startswith(where)
    assert message in error["msg"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": ["none", "cbma"]}, "Did you mean 'cbam'"),
        ({"kind": ["cordinate"]}, "Did you mean 'coordinate'"),
        ({"eca_kernel_size": ["auto", 4]}, "4 is even"),
        ({"eca_kernel_size": "automatic"}, "auto"),
        ({"dilation": 0}, "greater than or equal to 1"),
        ({"position": "stage_ends"}, "Did you mean 'stage_end'"),
        ({"order": ["both"]}, "channel_first"),
        ({"spatial_kernel_size": [3, 4]}, "4 is even"),
        ({"pools": {"from": ["avg"], "at_least": 2}}, "no subset"),
        ({"reduction_ratio": [0]}, "greater than or equal to 1"),
    ],
)
def test_attention_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AttentionConfig(**settings)


def test_pool_sets() -> None:
    subsets = AttentionConfig(pools={"from": ["lse", "avg", "max"], "at_least": 1, "at_most": 2}).pool_sets()
    assert subsets == (("avg",), ("max",), ("lse",), ("avg", "max"), ("avg", "lse"), ("max", "lse"))
    assert AttentionConfig(pools=[["max", "avg"], ["avg", "max"], "lp"]).pool_sets() == (("avg", "max"), ("lp",))


def test_settings_are_offered_where_some_kind_reads_them() -> None:
    assert set(AttentionConfig(kind=["none", "eca"]).settings_choices()) == {"eca_kernel_size"}
    assert set(AttentionConfig(kind="bam", reduction_ratio=[8, 16]).settings_choices()) == {"reduction_ratio", "dilation"}
    assert AttentionConfig(kind="none").settings_choices() == {}
    every = AttentionConfig(kind=["none", *ATTENTION_KINDS], reduction_ratio=4).settings_choices()
    assert set(every) == {name for kind in ATTENTION_KINDS for name in ATTENTION_KINDS[kind].settings()}


def test_no_spatial_gate_is_written_none_or_null() -> None:
    assert AttentionConfig(spatial_kernel_size=[None, 7]) == AttentionConfig(spatial_kernel_size=["none", 7])
