"""Names in descriptions are text, whatever stands in them."""

from __future__ import annotations

from markdown_it import MarkdownIt
from synthetic_study import candidate

from cbam_search.architecture import Architecture
from cbam_search.architecture.own_backbone import OwnBackbone, OwnSite
from cbam_search.tracking.notes import trial_note

ODD = "<img src=x onerror=alert(1)> [a](javascript:x) | `b` **c**"


def test_names_of_a_users_own_network_are_no_markup() -> None:
    backbone = OwnBackbone(
        module="net:build",
        arguments=(("kind", ODD),),
        source="0" * 64,
        attention_after=(OwnSite(name=ODD.replace(".", "_"), channels=8),),
        in_channels=3,
        classes=2,
    )
    proposed = candidate().model_copy(update={"architecture": Architecture(backbone=backbone)})
    page = MarkdownIt("commonmark").enable("table").render(trial_note(0, proposed))
    assert "<img" not in page
    assert "<a " not in page
    assert "alert(1)&gt;" in page
