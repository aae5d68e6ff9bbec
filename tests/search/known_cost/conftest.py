"""One small space with its costs, in codes."""

from __future__ import annotations

import pytest
from studies import space_of

from cbam_search.cost.model import CostModel
from cbam_search.pareto import Axis
from cbam_search.search.known_cost.codes import CodedSpace
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.search.space_costs import space_costs
from cbam_search.space.space import Space


@pytest.fixture(scope="session")
def space() -> Space:
    return space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7], pools={"from": ["avg", "max"]})


@pytest.fixture(scope="session")
def cost() -> CostModel:
    return CostModel((8, 8))


@pytest.fixture(scope="session")
def coded(space: Space) -> CodedSpace:
    return CodedSpace(space)


@pytest.fixture(scope="session")
def described(coded: CodedSpace, cost: CostModel) -> CostsAndFeatures:
    return CostsAndFeatures(coded, cost.cost)


@pytest.fixture(scope="session")
def axes(space: Space, cost: CostModel) -> tuple[Axis, Axis]:
    return (
        Axis("accuracy", maximise=True, reference=0.1, ideal=1.0),
        Axis("gflops", maximise=False, reference=space_costs(space, cost).range("gflops")[1], ideal=0.0),
    )
