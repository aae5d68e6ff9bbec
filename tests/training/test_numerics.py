"""The guard of NUMERICS_VERSION: what trainings come to is what was kept of them, unless the version says otherwise."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numerics
import pytest
import torch
from numerics import Case, Fingerprint, Fingerprints, fingerprint, moved

from cbam_search.architecture import FAMILIES, Backbone, SeSpec
from cbam_search.data import augmentation
from cbam_search.training import loop, optimization
from cbam_search.training.config import TrainingConfig
from cbam_search.training.numerics import NUMERICS_VERSION

WRITE_AGAIN = "run `python tests/support/numerics.py`, which writes the kept file again"
NO_NEW_VERSION = "Nothing that was there before has changed by that, so that NUMERICS_VERSION stays."

Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def kept() -> Fingerprints:
    return Fingerprints.kept(numerics.KEPT)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return numerics.cases()


def test_the_kept_file_is_of_this_version(kept: Fingerprints) -> None:
    assert kept.numerics_version == NUMERICS_VERSION, (
        f"the code is of NUMERICS_VERSION {NUMERICS_VERSION}, {numerics.KEPT.name} of {kept.numerics_version}: {WRITE_AGAIN}."
    )


def test_everything_that_there_is_is_kept(kept: Fingerprints) -> None:
    found = numerics.lacking(kept)
    assert not found, lacks(found)


def test_everything_that_is_kept_is_there(kept: Fingerprints) -> None:
    found = numerics.gone(kept)
    assert not found, f"only {numerics.KEPT.name} has {listed(found)}\nTo remove them, {WRITE_AGAIN}. {NO_NEW_VERSION}"


@pytest.mark.slow
def test_trainings_come_to_what_was_kept(kept: Fingerprints) -> None:
    if kept.numerics_version != NUMERICS_VERSION:
        pytest.skip("the kept file is of another version")
    found = numerics.computed()
    words = numerics.moved_cases(kept, found)
    other_torch = f" They were kept with torch {kept.torch}, and this is {found.torch}: if that is why, {WRITE_AGAIN}."
    assert not words, complaint(words) + (other_torch if kept.torch != found.torch else "")
    new = numerics.lacking_values(kept, found)
    assert not new, lacks(new)


def test_defaults_are_those_that_were_kept(kept: Fingerprints) -> None:
    if kept.numerics_version != NUMERICS_VERSION:
        pytest.skip("the kept file is of another version")
    words = numerics.moved_defaults(kept)
    assert not words, complaint(words)


def listed(names: list[str]) -> str:
    return "".join(f"\n  {name}" for name in names)


def lacks(names: list[str]) -> str:
    return f"{numerics.KEPT.name} lacks {listed(names)}\nTo add them, {WRITE_AGAIN}. {NO_NEW_VERSION}"


def complaint(words: list[str]) -> str:
    return (
        f"what trainings come to has changed, and NUMERICS_VERSION is still {NUMERICS_VERSION}:{listed(words)}\n"
        f"Either the change was not meant, or raise NUMERICS_VERSION in cbam_search/training/numerics.py and {WRITE_AGAIN}."
    )


def less_momentum(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
        return optimization.build_optimizer(model, config.model_copy(update={"momentum": config.momentum - 0.001}))

    monkeypatch.setattr(loop, "build_optimizer", build)


def decayed_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    def groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        return [{"params": list(model.parameters()), "weight_decay": weight_decay}]

    monkeypatch.setattr(optimization, "parameter_groups", groups)


def steeper_sigmoid(monkeypatch: pytest.MonkeyPatch) -> None:
    sigmoid = torch.sigmoid
    monkeypatch.setattr(torch, "sigmoid", lambda x: sigmoid(1.001 * x))


def another_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = torch.linalg.vector_norm
    monkeypatch.setattr(torch.linalg, "vector_norm", lambda x, dim: norm(x, 2.01, dim=dim))


def rarer_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    def flip(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        mirrored = torch.rand(len(x), generator=generator) < 0.4
        return torch.where(mirrored[:, None, None, None], x.flip(3), x)

    monkeypatch.setitem(augmentation.AUGMENTATIONS, "flip", flip)


def other_first_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def initialise(tensor: torch.Tensor, **settings: Any) -> torch.Tensor:
        return torch.nn.init.kaiming_uniform_(tensor, nonlinearity="relu", mode="fan_out")

    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", initialise)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (less_momentum, "recipe, optimizer sgd"),
        (decayed_biases, "recipe, optimizer adamw"),
        (steeper_sigmoid, "kind se, at branch_end"),
        (another_norm, "kind cbam, pools lp"),
        (rarer_flip, "recipe, augment flip"),
        (other_first_weights, "family resnet, depth 18"),
    ],
)
def test_a_small_change_moves_a_fingerprint(
    change: Patch, name: str, cases: dict[str, Case], kept: Fingerprints, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kept.numerics_version != NUMERICS_VERSION:
        pytest.skip("the kept file is of another version")
    assert not moved(kept.cases[name], fingerprint(cases[name]))
    change(monkeypatch)
    assert moved(kept.cases[name], fingerprint(cases[name]))


def test_what_is_compared() -> None:
    before: Fingerprint = {"loss": 2.0, "weights": [100.0, 0.001], "f1": 0.5}
    within = numerics.TOLERANCE / 2
    assert not moved(before, {"loss": 2.0 * (1 + within), "weights": [100.0, 0.001 + 100 * within], "f1": 0.5})
    assert moved(before, {"loss": 2.001, "weights": [100.0, 0.003], "recall": 0.5}) == [
        "loss: 2 -> 2.001",
        "weights: 100, 0.001 -> 100, 0.003",
        "f1: 0.5 -> gone",
    ]


class NewSpec(SeSpec):
    kind: Literal["new"] = "new"  # type: ignore[assignment]


def test_a_new_kind_lacks_a_fingerprint(kept: Fingerprints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "ATTENTION_KINDS", {"new": NewSpec})
    assert {"kind new, at pre", "kind new, reduction_ratio 3", "default of attention new.kind"} <= set(numerics.lacking(kept))
    assert "kind se, at pre" in numerics.gone(kept)


@pytest.mark.parametrize("name", ["recipe, augment flip", "recipe, optimizer adamw", "family mobilenet, depth 18"])
def test_whatever_is_registered_and_not_kept_is_named(name: str, kept: Fingerprints) -> None:
    less = {other: case for other, case in kept.cases.items() if other != name}
    assert numerics.lacking(dataclasses.replace(kept, cases=less)) == [name]


def test_a_default_that_changes_is_named(kept: Fingerprints) -> None:
    training = kept.defaults["training"] | {"lr": 0.2}
    assert numerics.moved_defaults(dataclasses.replace(kept, defaults=kept.defaults | {"training": training})) == [
        "default of training.lr: 0.2 -> 0.1"
    ]


class TestWriteAgain:
    """The script, with two quick fingerprints in the place of all."""

    @pytest.fixture(autouse=True)
    def quick(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(numerics, "KEPT", tmp_path / "kept.json")
        self.monkeypatch = monkeypatch
        self.computes({"a": {"loss": 1.0}})

    def computes(self, cases: dict[str, Fingerprint], version: int = 1) -> None:
        found = Fingerprints(version, "2.13.0", numerics.defaults(), cases)
        self.monkeypatch.setattr(numerics, "computed", lambda: found)

    def cases(self) -> dict[str, Any]:
        cases: dict[str, Any] = json.loads(numerics.KEPT.read_text())["cases"]
        return cases

    def test_it_adds_what_is_new_and_leaves_the_rest(self) -> None:
        numerics.write_again()
        self.computes({"a": {"loss": 1.000001, "recall": 0.5}, "b": {"weights": [2.0, -1.0]}})
        assert numerics.lacking_values(Fingerprints.kept(numerics.KEPT), numerics.computed()) == ["a: recall"]
        assert "2 cases" in numerics.write_again()
        assert self.cases() == {"a": {"loss": 1.0, "recall": 0.5}, "b": {"weights": [2.0, -1.0]}}
        assert Fingerprints.kept(numerics.KEPT).cases == self.cases()

    def test_it_refuses_what_has_moved_under_the_same_version(self) -> None:
        numerics.write_again()
        self.computes({"a": {"loss": 1.1}})
        with pytest.raises(SystemExit, match=r"a: loss: 1 -> 1.1\n.*raise NUMERICS_VERSION"):
            numerics.write_again()
        assert self.cases() == {"a": {"loss": 1.0}}
        self.computes({"a": {"loss": 1.1}}, version=2)
        numerics.write_again()
        assert self.cases() == {"a": {"loss": 1.1}}


def test_the_smallest_backbones_are_small_and_unlike_each_other() -> None:
    found = [backbone for family in FAMILIES for backbone in numerics.backbones(family).values()]
    assert len({backbone.canonical() for backbone in found}) == len(found)
    kinds = {block.kind for backbone in found for block in backbone.geometry().blocks}
    assert kinds == {"basic", "bottleneck", "separable"}
    assert any(block.groups > 1 for backbone in found if is_residual(backbone) for block in backbone.geometry().blocks)


def is_residual(backbone: Backbone) -> bool:
    return "branch_end" in FAMILIES[backbone.family].positions
