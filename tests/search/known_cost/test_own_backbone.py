"""The user's own networks: arguments are settings like any other, and every site is a unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from own_networks import write_networks

from cbam_search.backbones.tracing import trace
from cbam_search.cost.model import CostModel
from cbam_search.own_code import CodePermission
from cbam_search.search.known_cost.candidates import mutants, strangers
from cbam_search.search.known_cost.codes import CodedSpace
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.space.space import Space


def test_codes_of_own_backbones(tmp_path: Path) -> None:
    write_networks(tmp_path)
    config = OwnBackboneConfig.model_validate(
        {"module": "net:net", "sites": ["layer1", "layer2"], "arguments": {"width": [0.5, 1.0]}}
    )
    options: dict[str, Any] = {"in_channels": 1, "classes": 4, "image_size": (12, 12), "folder": tmp_path}
    space = Space(
        config,
        AttentionConfig.model_validate({"kind": ["none", "se", "cbam"], "reduction_ratio": [2, 4]}),
        in_channels=1,
        classes=4,
        own=lambda settings: trace(config.module, config.sites, settings, **options),
    )
    cost = CostModel((12, 12), code=CodePermission(tmp_path))
    described = CostsAndFeatures(coded := CodedSpace(space), cost.cost)
    assert "log width" in described.map.names
    rng = np.random.default_rng(0)
    codes = mutants(coded, strangers(coded, rng, 4), rng, 40)
    costs, features = described.costs(codes), described.features(codes)
    for row, code in enumerate(codes[:10]):
        architecture = coded.architecture(code)
        exact = cost.cost(architecture)
        assert tuple(costs[row]) == (exact.gflops, exact.params)
        known = described.features_of(architecture)
        assert known is not None
        np.testing.assert_allclose(features[row], known, rtol=1e-7, atol=1e-7)
