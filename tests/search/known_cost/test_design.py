"""The first candidates: the bare network of every backbone from all over the costs, one kind everywhere, then unlike ones."""

from __future__ import annotations

import numpy as np
import pytest
from evaluations import evaluation_of

from cbam_search.architecture import published
from cbam_search.cost.model import CostModel
from cbam_search.pareto import Axis
from cbam_search.records.trials import TrialState
from cbam_search.search.known_cost.candidates import strangers
from cbam_search.search.known_cost.codes import CodedSpace
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.search.known_cost.design import InitialDesign, plain_designs, van_der_corput
from cbam_search.search.known_cost.engine import KnownCostSearch
from cbam_search.search.known_cost.observation_table import ObservationTable
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space


def described_space(cost: CostModel, kind: list[str], **attention: object) -> CostsAndFeatures:
    backbone = BackboneConfig(family="cifar_resnet", depth=[8, 14], width=[0.25, 0.5])
    config = AttentionConfig.model_validate({"kind": kind, "per": "block", **attention})
    return CostsAndFeatures(CodedSpace(Space(backbone, config, in_channels=1, classes=10)), cost.cost)


def test_bare_networks_come_first_then_one_kind_everywhere(cost: CostModel) -> None:
    described = described_space(cost, ["none", "se", "cbam"], reduction_ratio=[2, 16])
    designs = [described.coded.architecture(code) for code in plain_designs(described)]
    bare, rest = designs[:4], designs[4:]
    assert {entry.digest for entry in bare} == {published(entry, None).digest for entry in described.coded.backbones}
    gflops = [cost.cost(entry).gflops for entry in bare]
    assert np.argsort(np.argsort(gflops)).tolist() == [0, 2, 1, 3]
    assert len(rest) == 2 * 4
    for design in rest:
        assert len(design.attention) == len(design.backbone.geometry().blocks)
        assert len({spec.kind for _, spec in design.attention}) == 1
    assert [design.attention[0][1].kind for design in rest[:4]] == ["se", "cbam", "se", "cbam"]


def test_without_none_the_cheapest_kind_stands_in(cost: CostModel) -> None:
    described = described_space(cost, ["se", "cbam"], reduction_ratio=[2, 16])
    for code in plain_designs(described)[:4]:
        mine = cost.cost(described.coded.architecture(code)).macs
        others = strangers(described.coded, np.random.default_rng(0), 60)
        others = others[others[:, 0] == code[0]]
        assert all(cost.cost(described.coded.architecture(other)).macs >= mine for other in others)


@pytest.mark.parametrize("limit", [np.inf, 5e-4])
def test_nothing_comes_twice_and_bounds_are_kept(limit: float, cost: CostModel) -> None:
    described = described_space(cost, ["none", "se"])
    design = InitialDesign(described, lambda codes: codes[described.costs(codes)[:, 0] <= limit], None)
    table = ObservationTable(described, "accuracy")
    for number in range(20):
        code = design.next(table, np.random.default_rng(number))
        assert code is not None
        assert code.tobytes() not in table.known
        assert described.costs(code[None])[0, 0] <= limit
        table.update([evaluation_of(number, described.coded.architecture(code), TrialState.RUNNING)])


@pytest.mark.parametrize(("startup", "before_the_model"), [(1, 4), (6, 6), (24, 8)])
def test_plain_designs_come_before_the_model_up_to_a_number(
    startup: int, before_the_model: int, cost: CostModel, axes: tuple[Axis, Axis]
) -> None:
    """Each backbone bare and with one kind; stopped ones count too; at least four trainings must be complete."""
    described = described_space(cost, ["none", "se", "cbam"])
    search = KnownCostSearch(described, axes[0], axes[1:], {}, startup=startup)
    table = ObservationTable(described, "accuracy")
    by_model = []
    for number in range(10):
        proposal = search.propose(table, np.random.default_rng(number))
        assert proposal.code is not None
        by_model.append(proposal.by_model)
        state, final = (TrialState.COMPLETE, 0.5 + number / 100) if number < 4 else (TrialState.STOPPED, None)
        table.update([evaluation_of(number, described.coded.architecture(proposal.code), state, {1: 0.3}, final)])
    assert by_model == [False] * before_the_model + [True] * (10 - before_the_model)
    assert {code.tobytes() for code in plain_designs(described)[:before_the_model]} <= table.known


def test_the_bare_networks_come_first_whatever_else_was_trained(cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    """Twelve trials of other architectures do not stand for them."""
    described = described_space(cost, ["none", "se", "cbam"])
    search = KnownCostSearch(described, axes[0], axes[1:], {}, startup=4)
    table = ObservationTable(described, "accuracy")
    plain = [code.tobytes() for code in plain_designs(described)]
    others = [code for code in strangers(described.coded, np.random.default_rng(0), 40) if code.tobytes() not in plain][:12]
    table.update(
        evaluation_of(number, described.coded.architecture(code), TrialState.COMPLETE, {}, 0.5)
        for number, code in enumerate(others)
    )
    for number in range(12, 16):
        proposal = search.propose(table, np.random.default_rng(number))
        assert proposal.code is not None
        assert proposal.code.tobytes() == plain[number - 12]
        table.update([evaluation_of(number, described.coded.architecture(proposal.code), TrialState.COMPLETE, {}, 0.6)])
    assert search.propose(table, np.random.default_rng(16)).by_model


def test_any_beginning_fills_the_interval() -> None:
    assert [van_der_corput(number) for number in range(8)] == [0, 0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]
