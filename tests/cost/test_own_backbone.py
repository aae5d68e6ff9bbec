"""Costs of a user's own network: the sum of bare network and attention is one pass over the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import attention_specs
from hypothesis import given, settings
from hypothesis import strategies as st
from own_networks import write_networks

from cbam_search.architecture import ATTENTION_KINDS, Architecture, OwnBackbone, published
from cbam_search.backbones.tracing import trace
from cbam_search.cost.cost import measure
from cbam_search.cost.model import CostModel
from cbam_search.errors import CodeNotAllowedError
from cbam_search.own_code import CodePermission

SITES = ("stem", "layer1.0.0", "layer1.0", "layer1", "layer2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own-costs")
    write_networks(folder)
    return folder


def backbone(folder: Path, function: str, image_size: tuple[int, int], width: float = 1.0) -> OwnBackbone:
    arguments = {"width": width}
    return trace(f"net:{function}", SITES, arguments, in_channels=3, classes=5, image_size=image_size, folder=folder)


@pytest.mark.parametrize("function", ["net", "Branches"])
@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_the_sum_of_the_parts_is_one_pass_over_the_whole(folder: Path, function: str, kind: str) -> None:
    architecture = published(backbone(folder, function, (20, 13)), kind)
    assert len(architecture.placed) == len(SITES)
    composed = CostModel((20, 13), code=CodePermission(folder)).cost(architecture)
    assert composed == measure(architecture, (20, 13), code=CodePermission(folder))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(("net", "Branches")),
    st.sampled_from((0.5, 1.0, 1.5)),
    st.tuples(st.integers(2, 24), st.integers(2, 24)),
    st.dictionaries(st.sampled_from(SITES), attention_specs),
)
def test_the_sum_of_the_parts_is_the_whole(folder, function, width, image_size, attention):  # type: ignore[no-untyped-def]
    architecture = Architecture(backbone=backbone(folder, function, image_size, width), attention=attention)
    composed = CostModel(image_size, code=CodePermission(folder)).cost(architecture)
    assert composed == measure(architecture, image_size, code=CodePermission(folder))


def test_by_hand(folder: Path) -> None:
    """3x3 convolutions without bias; batch norms have two parameters a channel."""
    cost = CostModel((8, 8), code=CodePermission(folder)).cost(Architecture(backbone=backbone(folder, "net", (8, 8))))
    convolutions = [(3, 8, 64), (8, 8, 64), (8, 16, 16), (16, 32, 4)]
    assert cost.macs == sum(9 * inputs * outputs * pixels for inputs, outputs, pixels in convolutions) + 32 * 5
    unused = 3 * 3 + 3
    assert cost.params == sum(9 * i * o + 2 * o for i, o, _ in convolutions) + 32 * 5 + 5 + unused


def test_without_permission_no_cost_is_known(folder: Path) -> None:
    architecture = Architecture(backbone=backbone(folder, "net", (8, 8)))
    for cost in (CostModel((8, 8)).cost, lambda known: measure(known, (8, 8))):
        with pytest.raises(CodeNotAllowedError, match="--allow-code"):
            cost(architecture)


def test_one_trace_serves_all_placements(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CostModel((8, 8), code=CodePermission(folder))
    known = backbone(folder, "net", (8, 8))
    model.cost(published(known, "se"))
    monkeypatch.setattr("cbam_search.cost.model.build", lambda *_args, **_options: pytest.fail("traced again"))
    assert model.cost(published(known, "eca")).params > model.cost(published(known, None)).params
