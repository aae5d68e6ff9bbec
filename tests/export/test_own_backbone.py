"""An exported network of a user's own: its file goes along where it needs torch only, and is refused in words otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from own_networks import NETWORKS, traced

from cbam_search.architecture import Architecture, CbamSpec, SeSpec
from cbam_search.backbones.builder import build
from cbam_search.errors import CodeNotAllowedError, ExportError, OwnCodeError
from cbam_search.export.module import write_module
from cbam_search.own_code import CodePermission

IMAGES = {"class_names": tuple("0123456789"), "mean": (0.5,), "std": (0.25,), "image_size": (16, 12)}


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "code").mkdir()
    monkeypatch.chdir(tmp_path / "code")
    return tmp_path / "code"


def architecture_in(code: Path, text: str = NETWORKS, function: str = "net") -> Architecture:
    (code / "net.py").write_text(text)
    backbone = traced(code, function, ("layer1", "layer1.0", "stem"), width=0.5)
    return Architecture(backbone=backbone, attention={"layer1": SeSpec(reduction_ratio=2), "layer1.0": CbamSpec()})


def export(architecture: Architecture, output: Path, *, allow_code: bool = True) -> Path:
    weights = build(architecture, code=CodePermission.of(True)).state_dict()
    return write_module(architecture, weights, output, code=CodePermission.of(allow_code), **IMAGES)  # type: ignore[arg-type]


USE = """
import sys, torch
sys.path.insert(0, sys.argv[1])
import model
sys.path.insert(0, sys.argv[2])
import importlib
first = model.load()
del sys.modules["model"]
sys.path.remove(sys.argv[1])
import model as other
assert other.__file__ != first.__class__.__module__
print(model.predict(first, torch.zeros(2, 1, 16, 12, dtype=torch.uint8)), other.load()(torch.zeros(1, 1, 16, 12)).shape)
"""


def test_two_exports_work_side_by_side_without_this_package(code: Path, tmp_path: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass D:\n    x: int = 1\n"
    architecture = architecture_in(code, text + NETWORKS)
    one, two = export(architecture, tmp_path / "one"), export(Architecture(backbone=architecture.backbone), tmp_path / "two")
    assert sorted(path.name for path in one.iterdir()) == [
        "README.md",
        "architecture.json",
        "model.py",
        "own_backbone.py",
        "weights.safetensors",
    ]
    assert (one / "own_backbone.py").read_text() == text + NETWORKS
    done = subprocess.run(
        [sys.executable, "-I", "-c", USE, one, two], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch.Size([1, 10])" in done.stdout


def test_an_earlier_export_is_replaced(code: Path, tmp_path: Path) -> None:
    architecture = architecture_in(code)
    export(architecture, tmp_path / "out")
    export(architecture, tmp_path / "out")


def test_nothing_runs_without_permission(code: Path, tmp_path: Path) -> None:
    architecture = architecture_in(code)
    weights = build(architecture, code=CodePermission.of(True)).state_dict()
    (code / "net.py").write_text("raise RuntimeError('ran')")
    with pytest.raises(CodeNotAllowedError, match="--allow-code"):
        write_module(architecture, weights, tmp_path / "out", **IMAGES)  # type: ignore[arg-type]
    with pytest.raises(OwnCodeError, match="is not that which the architecture was made with"):
        write_module(architecture, weights, tmp_path / "out", code=CodePermission.of(True), **IMAGES)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import numpy", "numpy is neither torch nor of the standard library"),
        ("import parts_of_mine", "parts_of_mine is neither"),
    ],
)
def test_a_file_that_needs_more_is_refused_with_its_name(code: Path, tmp_path: Path, line: str, words: str) -> None:
    (code / "parts_of_mine.py").write_text("")
    architecture = architecture_in(code, f"{line}\n{NETWORKS}")
    with pytest.raises(
        ExportError, match=rf"{words}.*Nothing was written\. The file of net:net goes along alone: .*keeps the weights"
    ):
        export(architecture, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_logits_are_those_of_the_study_s_network(code: Path, tmp_path: Path) -> None:
    architecture = architecture_in(code, function="Branches")
    torch.manual_seed(1)
    export(architecture, tmp_path / "out")  # which compares them
