from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from architectures import architectures
from hypothesis import given, settings

from cbam_search.architecture import ATTENTION_KINDS, Architecture, CbamSpec
from cbam_search.backbones.builder import build
from cbam_search.cost.cost import measure
from cbam_search.cost.model import CostModel
from cbam_search.cost.paper_tables import PAPER_ROWS

ROWS = json.loads((Path(__file__).parent / "fixtures" / "paper_tables.json").read_text())["rows"]


@pytest.fixture(scope="module")
def imagenet_costs() -> CostModel:
    return CostModel((224, 224))


def test_the_package_has_the_published_rows():
    assert [asdict(row) for row in PAPER_ROWS] == ROWS
    assert len(ROWS) == 30


OFF_BY = {"mobilenet_0.7+se": 2_704_661}
"""Rows whose parameters do not come out: with hidden widths of C // 16, as the authors' code has them, 2.70 M for 2.71 M."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["model"])
def test_the_papers_tables_come_out_to_the_last_digit(row, imagenet_costs):
    cost = imagenet_costs.cost(Architecture.named(row["model"]))
    assert f"{cost.gflops:.3f}" == f"{row['gflops']:.3f}"
    if row["model"] in OFF_BY:
        assert cost.params == OFF_BY[row["model"]]
        assert abs(cost.params / 1e6 - row["params_m"]) < 0.0054
    else:
        assert f"{cost.params / 1e6:.2f}" == f"{row['params_m']:.2f}"


@pytest.mark.parametrize("name", ["resnet18+cbam", "resnet50+se", "resnext50_32x4d", "mobilenet_0.7+cbam"])
def test_one_pass_over_the_whole_network_gives_the_tables_too(name, imagenet_costs):
    architecture = Architecture.named(name)
    assert measure(architecture, (224, 224)) == imagenet_costs.cost(architecture)


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_one_pass_and_the_sum_of_the_parts_agree_on_every_kind(kind):
    architecture = Architecture.named(f"cifar_resnet8_0.5+{kind}")
    assert CostModel((20, 12)).cost(architecture) == measure(architecture, (20, 12))


def test_a_warm_model_answers_for_other_placements_of_known_parts_too():
    model = CostModel((32, 32))
    bare, cbam = Architecture.named("cifar_resnet14"), Architecture.named("cifar_resnet14+cbam")
    model.cost(bare)
    model.cost(cbam)
    mixed = Architecture(backbone=bare.backbone, attention=cbam.attention[2:])
    assert model.cost(mixed) == measure(mixed, (32, 32))


@settings(max_examples=10, deadline=None)
@given(architectures())
def test_params_are_those_of_the_built_network(architecture):
    built = sum(parameter.numel() for parameter in build(architecture).parameters())
    assert CostModel((8, 8)).cost(architecture).params == built


def test_equal_canonical_forms_cost_the_same():
    model = CostModel((32, 32))
    architecture = Architecture.named("cifar_resnet8+cbam")
    again = Architecture(
        backbone=architecture.backbone,
        attention={name: CbamSpec(pools=("max", "avg", "max")) for name, _ in architecture.attention},
    )
    assert again != architecture
    assert model.cost(again) == model.cost(architecture.canonical())


def test_gflops_are_the_multiply_adds_of_convolutions_and_linear_layers_alone():
    cost = measure(Architecture.named("cifar_resnet8+cbam", classes=10), (32, 32))
    assert set(cost.by_operator) == {"convolution", "linear", "batch_norm", "pooling", "elementwise"}
    assert cost.gflops == cost.macs / 1e9
    assert round((cost.by_operator["convolution"] + cost.by_operator["linear"]) * 1e9) == cost.macs
    assert list(cost.by_operator.values()) == sorted(cost.by_operator.values(), reverse=True)


def test_by_hand():
    """cifar_resnet8 of width 1/16: one, two and four channels; 8x8 images of one channel; 3 classes."""
    backbone = Architecture.named("cifar_resnet8").backbone.model_copy(update={"width": 1 / 16, "in_channels": 1, "classes": 3})
    cost = measure(Architecture(backbone=backbone), (8, 8))
    convolutions = 9 * (64 * (1 + 1 + 1) + 16 * (2 + 4) + 4 * (8 + 16))
    assert cost.by_operator["convolution"] * 1e9 == pytest.approx(convolutions)
    assert cost.macs == convolutions + 4 * 3
    assert cost.by_operator["batch_norm"] * 1e9 == pytest.approx(2 * (64 * 3 + 32 * 2 + 16 * 2))
    assert cost.by_operator["pooling"] * 1e9 == pytest.approx(16)


def test_measuring_leaves_the_random_state_alone(caplog):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    measure(Architecture.named("cifar_resnet8+cbam"), (16, 16))
    assert torch.equal(torch.get_rng_state(), before)
    assert not caplog.records
