from __future__ import annotations

import json
import subprocess
import sys

import pytest
from architectures import architectures, with_attention
from hypothesis import given
from pydantic import ValidationError

from cbam_search.architecture import Architecture, Backbone, CbamSpec, SeSpec
from cbam_search.errors import UnknownNameError

RESNET50_CBAM_DIGEST = "3180e26b46f5d781e85ca62cbec44c7b4983989ccc90c5e58e83494cfbd4d516"
TINY = {"family": "cifar_resnet", "depth": 8, "stem": "cifar"}
SE = {"kind": "se"}


def in_another_process(code: str, hash_seed: str = "0") -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={"PYTHONHASHSEED": hash_seed}, check=True, capture_output=True, text=True).stdout.strip()


def test_digest_of_a_published_design_never_changes():
    assert Architecture.named("resnet50+cbam").digest == RESNET50_CBAM_DIGEST


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_digest_is_the_same_in_another_process(hash_seed):
    code = "from cbam_search.architecture import Architecture; print(Architecture.named('resnet50+cbam').digest)"
    assert in_another_process(code, hash_seed) == RESNET50_CBAM_DIGEST


def test_importing_architectures_does_not_import_torch():
    code = (
        "import sys, cbam_search.architecture; "
        "print(sorted({'torch', 'ray', 'optuna', 'mlflow', 'datasets', 'numpy'} & set(sys.modules)))"
    )
    assert in_another_process(code) == "[]"


@given(architectures())
def test_json_both_ways(architecture):
    assert Architecture.model_validate_json(architecture.model_dump_json()) == architecture
    assert Architecture.model_validate(architecture.model_dump()) == architecture
    read = Architecture.model_validate_json(architecture.canonical_json)
    assert read == architecture.canonical()
    assert read.digest == architecture.digest


@given(architectures())
def test_is_hashable_and_labelled(architecture):
    assert hash(architecture) == hash(Architecture.model_validate(architecture.model_dump()))
    assert architecture.backbone.name in architecture.label


def test_json_tells_kinds_apart_and_carries_no_dead_settings():
    backbone = Backbone(family="cifar_resnet", depth=8, stem="cifar")
    architecture = with_attention(backbone, (None, SeSpec(), CbamSpec(spatial_kernel_size=None)))
    entries = json.loads(architecture.model_dump_json())["attention"]
    assert list(entries) == ["s1b0.branch_end", "s2b0.branch_end"]
    assert entries["s1b0.branch_end"] == {"kind": "se", "reduction_ratio": 16}
    cbam = entries["s2b0.branch_end"]
    assert cbam.items() >= {"kind": "cbam", "reduction_ratio": 16, "spatial_kernel_size": None}.items()
    assert cbam["pools"] == ["avg", "max"]


@pytest.mark.parametrize(
    ("attention", "words"),
    [
        ({"kind": "sse"}, "Valid: se, cbam"),
        ({"kind": "se", "pools": ["avg"]}, "pools"),
        ({"kind": "cbam", "pools": []}, "at least 1"),
        ({"kind": "cbam", "pools": ["median"]}, "'avg', 'max', 'lp' or 'lse'"),
        ({"kind": "cbam", "spatial_kernel_size": 4}, "odd"),
        ({"kind": "cbam", "reduction_ratio": 0}, "greater than or equal to 1"),
        ({"kind": "cbam", "order": "channel"}, "'channel_first', 'spatial_first' or 'parallel'"),
        ({"kind": "eca", "eca_kernel_size": 4}, "odd"),
        ({"kind": "eca", "eca_kernel_size": -3}, "at least 1"),
        ({"kind": "eca", "reduction_ratio": 16}, "reduction_ratio"),
        ({"kind": "bam", "dilation": 0}, "greater than or equal to 1"),
        ("se", "a mapping with a kind"),
    ],
)
def test_impossible_attention_is_refused_with_what_is_allowed(attention, words):
    with pytest.raises(ValidationError) as error:
        Architecture.model_validate({"backbone": TINY, "attention": {"s2b0.branch_end": attention}})
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("attention", "words"),
    [
        ({"s2b0.branch_ent": SE}, "Did you mean 's2b0.branch_end'?"),
        ({"s3b0.branch_end": SE}, "unknown site"),
        ({"stem": SE}, "unknown site"),
        (3, "mapping"),
        (["s2b0.branch_end"], "mapping"),
    ],
)
def test_sites_that_are_not_there_are_refused(attention, words):
    with pytest.raises(ValidationError) as error:
        Architecture.model_validate({"backbone": TINY, "attention": attention})
    assert words in str(error.value)


def test_published_places_are_those_of_the_papers():
    def sites(name: str) -> list[str]:
        return [site.name for site, _ in Architecture.named(name).placed]

    assert sites("resnet18+cbam") == [f"s{stage}b{block}.branch_end" for stage in range(4) for block in range(2)]
    assert sites("resnet18+bam") == ["s0b1.post", "s1b1.post", "s2b1.post"]
    assert sites("mobilenet_1.0+bam") == ["s0b0.post", "s1b1.post", "s2b1.post", "s3b5.post"]
    assert sites("mobilenet_1.0+se")[:4] == ["stem", "s0b0.depthwise", "s0b0.pointwise", "s1b0.depthwise"]
    assert len(sites("mobilenet_1.0+se")) == 27


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet51", "Allowed: 18, 34, 50, 101, 152"),
        ("resnet50+cban", "Did you mean 'cbam'?"),
        ("resnet50+cban", "Valid: se, cbam"),
        ("vgg16", "resnet50"),
        ("cifar_resnet21", "6n + 2"),
        ("resnet18_1.5", "unknown architecture"),
        ("resnext50_3x4d_0.3", "unknown architecture"),
        ("", "unknown architecture"),
        ("resnet50+", "Valid: se, cbam"),
        ("resnet50+cordinate", "Did you mean 'coordinate'? Valid: se, cbam, eca, bam, gc, coordinate"),
    ],
)
def test_wrong_name_is_answered_with_valid_ones(name, words):
    with pytest.raises(UnknownNameError) as error:
        Architecture.named(name)
    assert words in str(error.value)


def test_published_name():
    assert Architecture.named("wide_resnet18_1.5+cbam").published_name == "wide_resnet18_1.5+cbam"
    backbone = Backbone(family="cifar_resnet", depth=8, stem="cifar")
    mixed = with_attention(backbone, (None, SeSpec(), CbamSpec()))
    assert mixed.published_name is None
    assert mixed.label == "cifar_resnet8 [1 cbam, 1 se]"
