from __future__ import annotations

import json
import subprocess
import sys

import pytest
from architectures import architectures
from hypothesis import given
from pydantic import ValidationError

from cbam_search.architecture import Architecture, Backbone, CbamSpec, SeSpec
from cbam_search.errors import UnknownNameError

RESNET50_CBAM_DIGEST = "6d09665a3598b759d081065664284dc696aeef9f2973ec0decd4b7afb67a71c2"


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
    architecture = Architecture(backbone=backbone, attention=(None, SeSpec(), CbamSpec(spatial_kernel_size=None)))
    entries = json.loads(architecture.model_dump_json())["attention"]
    assert entries[0] is None
    assert entries[1] == {"kind": "se", "reduction_ratio": 16}
    assert entries[2] == {"kind": "cbam", "reduction_ratio": 16, "pools": ["avg", "max"], "spatial_kernel_size": None}


@pytest.mark.parametrize(
    ("attention", "words"),
    [
        ([None], "3 sites"),
        ([None, None, {"kind": "sse"}], "Valid: se, cbam"),
        ([None, None, {"kind": "se", "pools": ["avg"]}], "pools"),
        ([None, None, {"kind": "cbam", "pools": []}], "at least 1"),
        ([None, None, {"kind": "cbam", "pools": ["median"]}], "'avg', 'max', 'lp' or 'lse'"),
        ([None, None, {"kind": "cbam", "spatial_kernel_size": 4}], "odd"),
        ([None, None, {"kind": "cbam", "reduction_ratio": 0}], "greater than or equal to 1"),
        ([None, None, {"kind": "eca", "eca_kernel_size": 4}], "odd"),
        ([None, None, {"kind": "eca", "eca_kernel_size": -3}], "at least 1"),
        ([None, None, {"kind": "eca", "reduction_ratio": 16}], "reduction_ratio"),
        ([None, None, {"kind": "bam", "dilation": 0}], "greater than or equal to 1"),
    ],
)
def test_impossible_attention_is_refused_with_what_is_allowed(attention, words):
    backbone = {"family": "cifar_resnet", "depth": 8, "stem": "cifar"}
    with pytest.raises(ValidationError) as error:
        Architecture.model_validate({"backbone": backbone, "attention": attention})
    assert words in str(error.value)


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
    mixed = Architecture(backbone=backbone, attention=(None, SeSpec(), CbamSpec()))
    assert mixed.published_name is None
    assert mixed.label == "cifar_resnet8 [1 cbam, 1 se / 3 sites]"
