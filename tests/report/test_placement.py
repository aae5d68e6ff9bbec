from __future__ import annotations

from architectures import architectures
from hypothesis import given

from cbam_search.architecture import ATTENTION_KINDS, Architecture, CbamSpec, SeSpec
from cbam_search.report.placement import placement_legend, placement_text


def test_one_character_a_site_grouped_by_stage() -> None:
    bare = Architecture.named("cifar_resnet14")
    attention = (None, SeSpec(), CbamSpec(), None, None, SeSpec())
    assert placement_text(bare) == "..|..|.."
    assert placement_text(bare.model_copy(update={"attention": attention})) == ".S|C.|.S"
    assert placement_text(Architecture.named("resnet50+cbam")) == "CCC|CCCC|CCCCCC|CCC"


def test_what_computes_se_is_shown_as_se() -> None:
    cbam = CbamSpec(pools=("avg",), spatial_kernel_size=None)
    bare = Architecture.named("cifar_resnet8")
    assert placement_text(bare.model_copy(update={"attention": (cbam, None, None)})) == "S|.|."


def test_legend_explains_every_kind() -> None:
    legend = placement_legend()
    assert "S se" in legend
    assert "C cbam" in legend
    assert all(f" {kind}" in legend for kind in ATTENTION_KINDS)


def test_every_kind_has_a_letter_of_its_own_that_reads_as_one() -> None:
    letters = [placement_text(Architecture.named(f"cifar_resnet8+{kind}"))[0] for kind in ATTENTION_KINDS]
    assert letters[:6] == ["S", "C", "E", "B", "G", "R"]
    assert len(set(letters)) == len(letters)
    assert not {"I", "O", ".", "|"} & set(letters)


@given(architectures())
def test_every_site_has_its_character(architecture: Architecture) -> None:
    stages = placement_text(architecture).split("|")
    counted = [sum(site.stage == stage for site in architecture.sites) for stage in range(len(stages))]
    assert [len(stage) for stage in stages] == counted
    bare = [spec is None for spec in architecture.attention]
    assert [character == "." for character in "".join(stages)] == bare
