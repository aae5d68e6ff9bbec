from __future__ import annotations

from architectures import architectures, with_attention
from hypothesis import given

from cbam_search.architecture import ATTENTION_KINDS, Architecture, CbamSpec, SeSpec
from cbam_search.report.placement import placement_legend, placement_text


def test_one_character_a_block_grouped_by_stage() -> None:
    bare = Architecture.named("cifar_resnet14")
    attention = (None, SeSpec(), CbamSpec(), None, None, SeSpec())
    assert placement_text(bare) == "..|..|.."
    assert placement_text(with_attention(bare.backbone, attention)) == ".S|C.|.S"
    assert placement_text(Architecture.named("resnet50+cbam")) == "CCC|CCCC|CCCCCC|CCC"


def test_what_computes_se_is_shown_as_se() -> None:
    cbam = CbamSpec(pools=("avg",), spatial_kernel_size=None)
    bare = Architecture.named("cifar_resnet8")
    assert placement_text(with_attention(bare.backbone, (cbam, None, None))) == "S|.|."


def test_unusual_places_have_a_mark() -> None:
    backbone = Architecture.named("cifar_resnet14").backbone
    shown = {
        "s0b0.pre": "S<.|..|..",
        "s0b1.identity": ".S=|..|..",
        "s2b0.post": "..|..|S>.",
        "s2b1.post": "..|..|.S>",
    }
    for site, text in shown.items():
        assert placement_text(Architecture(backbone=backbone, attention={site: SeSpec()})) == text
    both = Architecture(backbone=backbone, attention={"s0b0.branch_end": CbamSpec(), "s0b0.pre": SeSpec()})
    assert placement_text(both) == "CS<.|..|.."
    assert placement_text(Architecture.named("cifar_resnet14+bam")) == ".B>|.B>|.."


def test_a_separable_block_has_two_characters_and_the_stem_one() -> None:
    assert placement_text(Architecture.named("mobilenet18_1.0+se")) == "SSS|SSSS|SSSS|SS|SSSS"


def test_legend_explains_every_kind() -> None:
    legend = placement_legend()
    assert "S se" in legend
    assert "C cbam" in legend
    assert all(f" {kind}" in legend for kind in ATTENTION_KINDS)


def test_every_kind_has_a_letter_of_its_own_that_reads_as_one() -> None:
    backbone = Architecture.named("cifar_resnet8").backbone
    specs = [ATTENTION_KINDS[kind].model_validate({"kind": kind}) for kind in ATTENTION_KINDS]
    letters = [placement_text(with_attention(backbone, (spec,) * 3))[0] for spec in specs]
    assert letters[:6] == ["S", "C", "E", "B", "G", "R"]
    assert len(set(letters)) == len(letters)
    assert not {"I", "O", ".", "|"} & set(letters)


@given(architectures())
def test_every_placed_spec_has_its_character(architecture: Architecture) -> None:
    text = placement_text(architecture)
    assert sum(character.isalpha() for character in text) == len(architecture.attention)
    assert text.count("|") == len({site.stage for site in architecture.sites}) - 1
