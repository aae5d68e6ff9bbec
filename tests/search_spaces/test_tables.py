"""The tables that are shipped, and the YAML files that they are made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cbam_search.cost.model import CostModel
from cbam_search.records.table import Table, read_table
from cbam_search.search.published import published_designs
from cbam_search.space.space import Space
from cbam_search.study.config import read_study_config

FOLDER = Path(__file__).parents[2] / "benchmarks" / "tables"
SPACES = {"digits": (1, 8, 1000), "cifar10": (3, 16, 384), "cifar10_check": (3, 16, 256)}
"""Channels, image size, and distinct architectures."""


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_as_large_as_it_says_and_holds_its_published_designs(name: str) -> None:
    channels, size, distinct = SPACES[name]
    config, text = read_study_config(FOLDER / f"{name}.yaml")
    space = Space(config.backbone, config.attention, in_channels=channels, classes=10)
    assert space.count() == distinct
    assert f"{distinct:,} networks" in text
    designs = published_designs(
        space,
        config.search.baselines,
        at_most_backbones=config.search.published_backbones,
        cost=CostModel((size, size)).cost,
        bounds={},
    )
    assert len(designs.trained) == len(space.backbones) * len(config.search.baselines)
    assert all(space.encode(design) is not None for design in designs.trained)


@pytest.fixture(params=sorted(FOLDER.glob("*.parquet")), ids=lambda path: path.stem)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def shipped(file: Path) -> Table:
    return read_table(file)


def test_a_shipped_table_is_complete_and_of_the_yaml_beside_it(file: Path, shipped: Table) -> None:
    name = file.stem
    channels, size, distinct = SPACES[name]
    assert shipped.metadata.yaml == (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert shipped.metadata.complete
    assert shipped.trained.all()
    assert shipped.trained.shape == (distinct, 3)
    config, _ = read_study_config(FOLDER / f"{name}.yaml")
    space = Space(config.backbone, config.attention, in_channels=channels, classes=10)
    assert {architecture.digest for architecture in space.enumerate()} == set(shipped.rows)
    cost = CostModel((size, size)).cost
    for entry in shipped.entries[::97]:
        found = cost(entry.decoded())
        assert (entry.gflops, entry.params) == (found.gflops, found.params)
        assert entry.parameters is not None
        assert space.decode(entry.parameters).digest == entry.digest


def test_accuracies_of_a_shipped_table_spread_by_more_than_seeds_do(shipped: Table) -> None:
    within = np.nanvar(shipped.test_accuracy, axis=1, ddof=1).mean()
    between = np.nanmean(shipped.test_accuracy, axis=1).var(ddof=1) - within / 3
    assert between > within
