"""`backbone.weights`: which spellings fit which backbones, and where relative paths start."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cbam_search.space.backbone_config import BackboneConfig

TWO = {"family": "resnet", "depth": [18, 34]}
ONE = {"family": "resnet", "depth": 18}


def test_one_file_for_one_backbone_and_a_mapping_for_several() -> None:
    assert BackboneConfig(**ONE).weights_files() == {}
    assert BackboneConfig(**ONE, weights="a.pth").weights_files() == {"resnet18": Path("a.pth")}
    files = {"resnet18": "a.pth", "resnet34": "b.safetensors"}
    assert BackboneConfig(**TWO, weights=files).weights_files() == {name: Path(file) for name, file in files.items()}


def test_variants_that_are_one_network_share_a_file() -> None:
    """Basic blocks have one form; narrow widths are named as given or canonically."""
    assert BackboneConfig(**ONE, variant=["v1", "v1.5"], weights="a").weights_files() == {"resnet18": Path("a")}
    narrow = {"family": "cifar_resnet", "depth": 8, "width": 0.69}
    for name in ("cifar_resnet8_0.69", "cifar_resnet8_0.7"):
        assert BackboneConfig(**narrow, weights={name: "a"}).weights_files() == {"cifar_resnet8_0.7": Path("a")}


@pytest.mark.parametrize(
    ("settings", "weights", "words"),
    [
        (TWO, "a.pth", r"a file holds the weights of one network, and these are 2: resnet18, resnet34\. Give a mapping"),
        (TWO, {"resnet18": "a"}, "no file for resnet34"),
        (TWO, {"resnet18": "a", "resnet34": "b", "resnet35": "c"}, "unknown backbone 'resnet35'. Did you mean 'resnet34'"),
        (TWO, {}, "no file for resnet18, resnet34"),
        (ONE, {"resnet50": "a"}, "unknown backbone 'resnet50'"),
        (ONE, "", "at least 1 character"),
        (ONE, {"resnet18": ""}, "at least 1 character"),
        (ONE, 7, "valid string"),
    ],
)
def test_what_does_not_fit_is_refused(settings, weights, words) -> None:
    with pytest.raises(ValidationError, match=words):
        BackboneConfig(**settings, weights=weights)


def test_relative_paths_start_at_the_yaml(tmp_path: Path) -> None:
    assert BackboneConfig(**ONE).resolved(tmp_path).weights is None
    assert BackboneConfig(**ONE, weights="sub/a.pth").resolved(tmp_path).weights == str(tmp_path / "sub" / "a.pth")
    assert BackboneConfig(**ONE, weights="/b/a.pth").resolved(tmp_path).weights == "/b/a.pth"
    files = BackboneConfig(**TWO, weights={"resnet18": "a", "resnet34": "~/b"}).resolved(tmp_path).weights
    assert files == {"resnet18": str(tmp_path / "a"), "resnet34": str(Path.home() / "b")}


def test_weights_change_no_parameter_of_the_space() -> None:
    with_weights = BackboneConfig(**ONE, weights="a.pth")
    assert with_weights.combinations() == BackboneConfig(**ONE).combinations()
    assert with_weights.choices() == BackboneConfig(**ONE).choices()
