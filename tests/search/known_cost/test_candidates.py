"""Candidates are of the space, distinct, within bounds; relatives look like their parents."""

from __future__ import annotations

import numpy as np
import pytest
from evaluations import evaluation_of
from studies import space_of

from cbam_search.cost.model import CostModel
from cbam_search.pareto import Axis
from cbam_search.records.trials import TrialState
from cbam_search.search.known_cost.candidates import crossings, distinct, mutants, strangers
from cbam_search.search.known_cost.codes import CodedSpace
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.search.known_cost.drawing import moved
from cbam_search.search.known_cost.engine import KnownCostSearch
from cbam_search.search.known_cost.observation_table import ObservationTable


@pytest.mark.parametrize("make", ["strangers", "mutants", "crossings"])
def test_they_are_of_the_space(make: str, coded: CodedSpace) -> None:
    rng = np.random.default_rng(0)
    parents = strangers(coded, rng, 6)
    codes = {
        "strangers": lambda: strangers(coded, rng),
        "mutants": lambda: mutants(coded, parents, rng),
        "crossings": lambda: crossings(coded, parents, rng),
    }[make]()
    assert len(distinct(codes, set())) > len(codes) / 4
    for code in codes[:60]:
        architecture = coded.architecture(code)
        assert coded.code(architecture) is not None
        assert (coded.code(architecture) == code).all()
        assert coded.space.decode(coded.parameters(code)) == architecture


def test_most_mutants_differ_in_little(coded: CodedSpace) -> None:
    parent = strangers(coded, np.random.default_rng(4), 1)
    children = mutants(coded, parent, np.random.default_rng(0), 400)
    changed = (children != parent).sum(axis=1)
    assert np.median(changed) <= 2
    assert (children[:, 0] != parent[0, 0]).any()


def test_the_same_settings_are_found_on_another_backbone(coded: CodedSpace) -> None:
    everywhere = coded.space.decode(
        {entry.name: "se" if entry.name.endswith("kind") else entry.choices[0] for entry in coded.space.parameters}
    )
    code = coded.code(everywhere)
    assert code is not None
    for number in range(len(coded.backbones)):
        there = coded.architecture(moved(coded, code, number, np.random.default_rng(0)))
        assert there.backbone == coded.backbones[number]
        assert {spec.kind for _, spec in there.attention} == {"se"}
        assert len(there.attention) == len(there.backbone.geometry().blocks)


def test_distinct_leaves_out_what_is_known(coded: CodedSpace) -> None:
    codes = strangers(coded, np.random.default_rng(0), 20)
    twice = np.concatenate([codes, codes])
    once = distinct(twice, set())
    assert {row.tobytes() for row in once} == {row.tobytes() for row in codes}
    assert {row.tobytes() for row in distinct(twice, {codes[0].tobytes()})} == {row.tobytes() for row in codes[1:]} - {
        codes[0].tobytes()
    }


def test_all_codes_are_all_architectures() -> None:
    space = space_of(kind=["none", "se", "cbam"], per="network", reduction_ratio=[2, 64])
    coded = CodedSpace(space)
    assert sorted(coded.architecture(code).digest for code in coded.all()) == sorted(a.digest for a in space.enumerate())


@pytest.mark.parametrize("by_model", [False, True])
def test_bounds_are_kept(
    by_model: bool, coded: CodedSpace, described: CostsAndFeatures, cost: CostModel, axes: tuple[Axis, Axis]
) -> None:
    everything = described.costs(strangers(coded, np.random.default_rng(1), 400))
    bounds = {"gflops": float(np.quantile(everything[:, 0], 0.3)), "params": float(np.quantile(everything[:, 1], 0.25))}
    search = KnownCostSearch(described, axes[0], axes[1:], bounds, startup=4)
    table = ObservationTable(described, "accuracy")
    rng = np.random.default_rng(2)
    for number in range(16):
        proposal = search.propose(table, rng)
        assert proposal.code is not None
        assert proposal.by_model is (number >= 4)
        exact = cost.cost(coded.architecture(proposal.code))
        assert exact.gflops <= bounds["gflops"]
        assert exact.params <= bounds["params"]
        state = TrialState.COMPLETE if by_model or number < 8 else TrialState.FAILED
        table.update([evaluation_of(number, coded.architecture(proposal.code), state, {}, float(rng.uniform(0.5, 0.9)))])


def test_the_initial_design_is_spread_over_cost(
    coded: CodedSpace, described: CostsAndFeatures, axes: tuple[Axis, Axis]
) -> None:
    search = KnownCostSearch(described, axes[0], axes[1:], {}, startup=8)
    table = ObservationTable(described, "accuracy")
    gflops = []
    for number in range(8):
        code = search.propose(table, np.random.default_rng(number)).code
        assert code is not None
        gflops.append(float(described.costs(code[None])[0, 0]))
        table.update([evaluation_of(number, coded.architecture(code), TrialState.COMPLETE, {}, 0.5)])
    quarters = np.quantile(described.costs(strangers(coded, np.random.default_rng(9), 2000))[:, 0], [0.25, 0.5, 0.75])
    assert set(np.searchsorted(quarters, gflops)) == {0, 1, 2, 3}
