from __future__ import annotations

import pytest
from architectures import with_attention

from cbam_search.architecture import ATTENTION_KINDS, Architecture, CbamSpec, SeSpec
from cbam_search.cost.attribution import attribute
from cbam_search.cost.model import CostModel

MODEL = CostModel((32, 32))


@pytest.mark.parametrize("name", ["cifar_resnet8", "mobilenet18_0.25"])
@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_rows_add_up_to_what_attention_adds(name, kind):
    bare, attended = (MODEL.cost(Architecture.named(entry, classes=10)) for entry in (name, f"{name}+{kind}"))
    rows = attribute(Architecture.named(f"{name}+{kind}", classes=10), MODEL)
    assert sum(row.params for row in rows) == attended.params - bare.params
    assert sum(row.macs for row in rows) == attended.macs - bare.macs
    parts = sum(sum(row.parts.values()) for row in rows)
    assert parts == pytest.approx(1e9 * (attended.operations - bare.operations), abs=1)


def test_a_row_by_hand():
    """CBAM at 32 channels and 16 x 16: two pools into an MLP of two hidden units, two more into a 3x3 convolution."""
    backbone = Architecture.named("cifar_resnet8", classes=10).backbone
    spec = CbamSpec(spatial_kernel_size=3)
    (row,) = attribute(with_attention(backbone, (None, spec, None)), MODEL)
    pixels = 16 * 16
    assert (row.site.name, row.spec, row.map_size) == ("s1b0.branch_end", spec, (16, 16))
    assert row.params == 32 * 2 + 2 + 2 * 32 + 32 + 2 * 9 + 2
    assert row.macs == 2 * (2 * 32 * 2) + 2 * 9 * pixels
    assert row.parts == {
        "pooling": 4 * 32 * pixels + 2 * 32,
        "mlp": 2 * (2 * 32 * 2),
        "convolution": 2 * 9 * pixels,
        # ReLUs, sigmoid and product of the channel gate; batch norm, sigmoid and product of the spatial one.
        "gate": 2 * 2 + 32 + 32 * pixels + 2 * pixels + pixels + 32 * pixels,
    }


def test_before_the_branch_the_map_still_has_the_size_that_enters_the_block():
    backbone = Architecture.named("cifar_resnet8", classes=10).backbone
    placed = {site: SeSpec() for site in ("s1b0.pre", "s1b0.identity", "s1b0.post")}
    rows = attribute(Architecture(backbone=backbone, attention=placed), MODEL)
    assert [(row.site.channels, row.map_size) for row in rows] == [(16, (32, 32)), (32, (16, 16)), (32, (16, 16))]
