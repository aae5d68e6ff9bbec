"""Every YAML in search_spaces/ is valid, holds architectures, and its published designs can be built."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest
import torch

from cbam_search.architecture import Architecture, published
from cbam_search.backbones.builder import build
from cbam_search.cost.model import CostModel
from cbam_search.search.published import published_designs
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig, read_study_config

FOLDER = Path(__file__).parents[2] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))
IMAGES = {
    "quickstart": (1, 10, 8),
    "cifar10-positions": (3, 10, 32),
    "cifar10-resnet": (3, 10, 32),
    "imagenet-mobilenet": (3, 1000, 224),
    "imagenet-resnet50": (3, 1000, 224),
}
"""Channels, classes and size of each study's images, which are not here."""


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def config(request: pytest.FixtureRequest) -> StudyConfig:
    return read_study_config(request.param)[0]


@pytest.fixture
def space(config: StudyConfig) -> Space:
    channels, classes, _ = IMAGES[config.name]
    return Space(config.backbone, config.attention, in_channels=channels, classes=classes)


def test_the_spaces_are_there() -> None:
    assert [path.stem.replace("_", "-") for path in FILES] == sorted(IMAGES)


def test_relative_paths_start_at_the_file() -> None:
    config, _ = read_study_config(FOLDER / "cifar10_resnet.yaml")
    assert config.dataset.files("train") == (str(FOLDER / "data/cifar10/train.parquet"),)


def test_the_hub_form_in_the_comment_is_valid(tmp_path: Path) -> None:
    """Uncomment it, and take out what belongs to the local files."""
    lines = (FOLDER / "cifar10_resnet.yaml").read_text(encoding="utf-8").splitlines()
    local = [line for line in lines if not line.startswith(("  source: parquet", "  train: "))]
    hub = [line.replace("  # source:", "  source:").replace("  # name:", "  name:") for line in local]
    copy = tmp_path / "hub.yaml"
    copy.write_text("\n".join(hub), encoding="utf-8")
    dataset = read_study_config(copy)[0].dataset
    assert (dataset.source, dataset.name) == ("hub", "uoft-cs/cifar10")


def test_random_choices_go_to_architectures_and_back(space: Space) -> None:
    assert space.count() > 0
    draw = random.Random(0)
    for _ in range(20):
        values = {parameter.name: draw.choice(parameter.choices) for parameter in space.parameters}
        architecture = space.decode(values)
        encoded = space.encode(architecture)
        assert encoded is not None
        assert space.decode(encoded) == architecture


def test_enumeration_begins_with_distinct_architectures(space: Space) -> None:
    assert len({architecture.digest for architecture in islice(space.enumerate(), 20)}) == 20


def test_published_designs_build_and_fit_into_the_budget(config: StudyConfig, space: Space) -> None:
    size = IMAGES[config.name][2]
    designs = published_designs(
        space,
        config.search.baselines,
        at_most_backbones=config.search.published_backbones,
        cost=CostModel((size, size)).cost,
        bounds=config.constraints.bounds(),
    )
    assert designs.trained
    assert len(designs.trained) < config.search.trials
    for architecture in (*designs.trained, *designs.excluded):
        assert architecture.published_name is not None
        with torch.device("meta"):
            logits = build(architecture).eval()(torch.empty(1, architecture.backbone.in_channels, size, size))
        assert logits.shape == (1, space.classes)


def test_the_gflops_axis_is_not_flat(config: StudyConfig, space: Space) -> None:
    """The costliest bare backbone costs at least twice the cheapest."""
    size = IMAGES[config.name][2]
    cost = CostModel((size, size)).cost
    gflops = [cost(published(backbone, None)).gflops for backbone in space.backbones]
    assert max(gflops) >= 2 * min(gflops)


def test_the_cifar_constraint_is_what_its_comment_says() -> None:
    cost = CostModel((32, 32)).cost
    assert round(cost(Architecture.named("cifar_resnet20", classes=10)).gflops, 3) == 0.041
    assert round(cost(Architecture.named("cifar_resnet32", classes=10)).gflops, 3) == 0.069


def test_the_imagenet_costs_are_what_their_comment_says() -> None:
    cost = CostModel((224, 224)).cost
    names = ("resnet18", "resnet50_v1.5", "resnet101_v1.5")
    assert [round(cost(Architecture.named(name)).gflops, 1) for name in names] == [1.8, 4.1, 7.8]
    names = ("mobilenet_0.5", "mobilenet_0.7", "mobilenet_1.0")
    assert [round(cost(Architecture.named(name)).gflops, 2) for name in names] == [0.15, 0.28, 0.57]
