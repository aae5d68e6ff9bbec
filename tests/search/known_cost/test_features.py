"""Features are of the function, not of its spelling; candidates' sums are those of whole architectures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import assignments, spaces

from cbam_search.architecture import ATTENTION_KINDS, Architecture, published
from cbam_search.cost.model import CostModel
from cbam_search.search.known_cost.codes import CodedSpace
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.search.known_cost.drawing import random_codes
from cbam_search.space.space import Space


@pytest.mark.slow
@settings(deadline=None, max_examples=6)
@given(st.data())
def test_codes_stand_for_architectures_with_their_costs_and_features(data: st.DataObject) -> None:
    space = data.draw(spaces())
    model = CostModel((16, 16))
    described = CostsAndFeatures(coded := CodedSpace(space), model.cost)
    architectures = [space.decode(data.draw(assignments(space))) for _ in range(4)]
    codes = [coded.code(architecture) for architecture in architectures]
    assert all(code is not None for code in codes)
    stacked = np.stack([code for code in codes if code is not None])
    costs, features = described.costs(stacked), described.features(stacked)
    for row, architecture in enumerate(architectures):
        assert coded.architecture(stacked[row]) == architecture
        assert space.decode(coded.parameters(stacked[row])) == architecture
        exact = model.cost(architecture)
        assert tuple(costs[row]) == (exact.gflops, exact.params)
        known = described.features_of(architecture)
        assert known is not None
        np.testing.assert_allclose(features[row], known, rtol=1e-7, atol=1e-7)
    equal = [[a.digest == b.digest for b in architectures] for a in architectures]
    assert equal == [[bool((a == b).all()) for b in stacked] for a in stacked]


def test_equal_functions_have_equal_features_and_others_differ(
    space: Space, coded: CodedSpace, described: CostsAndFeatures
) -> None:
    seen: dict[bytes, str] = {}
    codes = random_codes(coded, np.random.default_rng(1), 300)
    for code in codes:
        architecture = coded.architecture(code)
        again = Architecture.model_validate_json(architecture.model_dump_json()).canonical()
        row, row_again = described.features_of(architecture), described.features_of(again)
        assert row is not None
        assert row_again is not None
        assert row.tobytes() == row_again.tobytes()
        assert seen.setdefault(np.round(row, 9).tobytes(), architecture.digest) == architecture.digest


def test_the_length_is_fixed_and_columns_are_standardised(coded: CodedSpace, described: CostsAndFeatures) -> None:
    rows = described.features(random_codes(coded, np.random.default_rng(5), 2000))
    assert rows.shape == (2000, len(described.map.names))
    assert len(set(described.map.names)) == len(described.map.names)
    relative = rows / described.map.prior_scale
    vary = relative.std(axis=0) > 1e-6
    assert vary.sum() > 20
    assert np.abs(relative[:, vary].mean(axis=0)).max() < 0.5
    assert np.abs(relative[:, vary].std(axis=0) - 1).max() < 0.5


def test_published_designs_outside_the_space_have_features_unless_their_kind_has_no_column(
    space: Space, coded: CodedSpace, described: CostsAndFeatures
) -> None:
    outside = published(space.backbones[0], "cbam")
    assert coded.code(outside) is None
    row = described.features_of(outside.canonical())
    assert row is not None
    assert np.isfinite(row).all()
    assert described.features_of(published(space.backbones[0], "bam").canonical()) is None
    assert "bam" in ATTENTION_KINDS


def test_another_space_object_gives_the_same_numbers(
    space: Space, coded: CodedSpace, described: CostsAndFeatures, cost: CostModel
) -> None:
    again = CostsAndFeatures(CodedSpace(space), CostModel((8, 8)).cost)
    codes = random_codes(coded, np.random.default_rng(2), 50)
    assert again.features(codes).tobytes() == described.features(codes).tobytes()


def test_forgetting_changes_nothing(coded: CodedSpace, described: CostsAndFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = random_codes(coded, np.random.default_rng(3), 50)
    before = described.features(codes)
    monkeypatch.setattr("cbam_search.search.known_cost.costs_and_features.REMEMBERED_AT_MOST", 10)
    assert described.features(codes).tobytes() == before.tobytes()
