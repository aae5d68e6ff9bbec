"""Optuna's own published tests of samplers (optuna.testing.pytest_samplers), on the known-cost sampler.

Not taken: SingleOnlySamplerTestCase, which is for samplers that refuse several objectives. The published tests know nothing of
architectures: their parameters are none of the space's, so what they test is that such parameters are drawn properly beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler

pytest.importorskip("optuna.testing.pytest_samplers", reason="this Optuna publishes no sampler tests")
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from studies import space_of

from cbam_search.cost.model import CostModel
from cbam_search.pareto import Axis
from cbam_search.search.known_cost.sampler import KnownCostSampler

SPACE = space_of(kind=["none", "se"], per="network")
COST = CostModel((8, 8))
AXES = (
    Axis("accuracy", maximise=True, reference=0.1, ideal=1.0),
    Axis("gflops", maximise=False, reference=0.002, ideal=0.0),
)


class TestKnownCostSampler(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: KnownCostSampler(SPACE, COST.cost, AXES, seed=0)
