"""A user's own network: its sites found by a forward pass, attention put there, mistakes explained before any training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from own_networks import traced, write_networks
from safetensors.torch import load
from torch import nn

from cbam_search.architecture import Architecture, CbamSpec, OwnBackbone, SeSpec, published
from cbam_search.backbones.builder import build
from cbam_search.backbones.tracing import trace
from cbam_search.errors import CodeNotAllowedError, OwnCodeError
from cbam_search.own_code import CodePermission
from cbam_search.training.checkpoint import weights_of


@pytest.fixture(autouse=True)
def _networks(tmp_path: Path) -> None:
    write_networks(tmp_path)


def test_channels_are_found_and_sites_are_in_the_order_of_a_forward_pass(tmp_path: Path) -> None:
    backbone = traced(tmp_path, "net", ("layer2", "layer1", "layer1.0.0", "stem", "layer1.0"), width=0.5)
    found = [(site.name, site.block, site.channels, site.positions) for site in backbone.sites]
    expected = [("stem", 4), ("layer1.0.0", 4), ("layer1.0", 4), ("layer1", 8), ("layer2", 16)]
    assert found == [(name, name, channels, ("after",)) for name, channels in expected]
    assert backbone == traced(tmp_path, "net", ("stem", "layer1", "layer2", "layer1.0", "layer1.0.0"), width=0.5)
    assert OwnBackbone.model_validate_json(backbone.model_dump_json()) == backbone
    assert backbone.name == "net(width=0.5)"


def test_attention_follows_what_it_is_said_to_follow(tmp_path: Path) -> None:
    backbone = traced(tmp_path, "net", ("layer1", "layer1.0"))
    attention = {"layer1": SeSpec(reduction_ratio=4), "layer1.0": CbamSpec(pools=("avg",), spatial_kernel_size=3)}
    torch.manual_seed(0)
    network = build(Architecture(backbone=backbone, attention=attention), code=CodePermission(tmp_path)).eval()
    images = torch.rand(3, 1, 16, 12)
    x = network.stem(images)
    outer = network.layer1
    inner = outer.module[0]
    by_hand = outer.attention(outer.module[1](inner.attention(inner.module(x))))
    torch.testing.assert_close(network(images), network.head(network.layer2(by_hand).mean((2, 3))))
    assert type(outer.attention).__name__ == "SE"
    assert type(inner.attention).__name__ == "CBAM"


def test_bare_it_is_the_user_s_own_and_weights_come_and_go_by_name(tmp_path: Path) -> None:
    backbone = traced(tmp_path)
    bare = build(Architecture(backbone=backbone), code=CodePermission(tmp_path))
    assert type(bare).__name__ == "Net"
    first, second = (build(published(backbone, "cbam"), code=CodePermission(tmp_path)).eval() for _ in range(2))
    second.load_state_dict(load(weights_of(first)))
    images = torch.rand(2, 1, 16, 12)
    torch.testing.assert_close(first(images), second(images))


def test_a_function_with_any_arguments_is_given_what_the_data_say(tmp_path: Path) -> None:
    backbone = traced(tmp_path, "any_arguments", width=2.0)
    assert backbone.sites[0].channels == 32


@pytest.mark.parametrize("function", ["Branches", "Lists", "Sequence"])
def test_networks_of_many_kinds_are_taken(tmp_path: Path, function: str) -> None:
    assert traced(tmp_path, function, ("stem", "layer2")).sites[1].channels == 32


@pytest.mark.parametrize(
    ("function", "site", "words"),
    [
        ("net", "layer_1", r"net has no submodule 'layer_1'. Did you mean 'layer1'\? It has: stem, stem.0, .*, \.\.\."),
        ("net", "unused", r"net calls its submodule 'unused' not at all in a forward pass; .* Name another submodule"),
        ("Twice", "stem", r"calls its submodule 'stem' 2 times"),
        ("net", "head", r"output of 'head' in net is of shape \(2, 10\); attention needs \(N, C, H, W\), here N = 2"),
        ("Lists", "pair", r"output of 'pair' in Lists is a tuple of 2; attention needs"),
        ("Lists", "flat", r"output of 'flat' in Lists is of shape \(2, 32, 12\)"),
        ("Shared", "layer1", r"'layer1' in Shared is one module under 2 names \(layer1, again\)"),
        ("Shared", "again.0", r"one module under 2 names \(layer1.0, again.0\)"),
        ("Tied", "layer1", r"'head.weight' and 'other.weight' in Tied share their memory"),
        ("Lazy", "layer1", r"'head.weight' in Lazy is of type UninitializedParameter: lazy modules"),
        ("Reads", "layer1", r"with attention after 'layer1', Reads does not run on images of shape \(2, 1, 16, 12\): "
                            r"TypeError: 'WithAttention' object is not subscriptable \(net.py:\d+\)\. .*nothing else of it"),
        ("PassesBy", "layer1", r"attention after 'stem' is passed by: PassesBy calls that submodule by another way"),
        ("Auxiliary", "layer1", r"Auxiliary returns in training mode a tuple of 2 .*must return logits \(N, classes\), here"),
        ("kept", "layer1", r"net:kept returned .*must build a new one each time"),
        ("no_channels", "layer1", r"no_channels does not run on images of shape \(2, 1, 16, 12\): RuntimeError: .*3 channels.*"
                                  r"told the number of channels, here 1, where it takes `in_channels`"),
        ("needs_more", "layer1", r"net:needs_more needs the argument 'depth': give it under backbone.arguments"),
        ("raises", "layer1", r"net:raises\(classes=10\) failed: RuntimeError: no such file: weights.bin \(net.py:\d+\)"),
        ("leaves", "layer1", r"net:leaves\(classes=10\) failed: SystemExit: 3"),
        ("no_module", "layer1", r"net:no_module\(classes=10\) returned a list of 2; it must return a torch.nn.Module"),
        ("nett", "layer1", r"net has no function 'nett'. Did you mean 'net'\?"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_explained(tmp_path: Path, function: str, site: str, words: str) -> None:
    with pytest.raises(OwnCodeError, match=words):
        traced(tmp_path, function, ("stem", site) if site != "stem" else ("stem",))


def test_the_number_of_classes_is_the_data_s(tmp_path: Path) -> None:
    from cbam_search.backbones.tracing import trace

    with pytest.raises(OwnCodeError, match=r"returns a float32 tensor of shape \(2, 10\) .* here \(2, 3\).* takes `classes`"):
        trace("net:ten_classes", ["stem"], {}, in_channels=1, classes=3, image_size=(8, 8), folder=tmp_path)


def test_an_argument_that_the_function_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        OwnCodeError, match=r"net:net takes no argument 'widht'. Did you mean 'width'\? It takes: width, stride"
    ):
        traced(tmp_path, widht=0.5)


class TestPermission:
    def test_an_architecture_from_a_stranger_imports_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "stranger.py").write_text("raise RuntimeError('ran')")
        made = {"family": "own", "module": "stranger:f", "source": "", "in_channels": 1, "classes": 2}
        text = json.dumps({"backbone": made | {"attention_after": [{"name": "a", "channels": 3}]}})
        architecture = Architecture.model_validate_json(text)
        assert architecture.digest
        assert architecture.label == "f"
        with pytest.raises(CodeNotAllowedError, match=r"the Python function stranger:f\. .*--allow-code"):
            build(architecture)
        assert "stranger" not in sys.modules

    def test_another_source_is_not_run_even_with_permission(self, tmp_path: Path) -> None:
        architecture = Architecture(backbone=traced(tmp_path))
        (tmp_path / "net.py").write_text("raise RuntimeError('ran')")
        with pytest.raises(OwnCodeError, match=r"source of net:net in .* is not that which the architecture was made with"):
            build(architecture, code=CodePermission(tmp_path))

    def test_by_default_the_current_folder_holds_the_code(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        architecture = Architecture(backbone=traced(tmp_path))
        monkeypatch.chdir(tmp_path)
        assert isinstance(build(architecture, code=CodePermission.of(True)), nn.Module)


def test_digests_differ_by_source_arguments_and_sites(tmp_path: Path) -> None:
    backbones = [traced(tmp_path), traced(tmp_path, width=0.5), traced(tmp_path, "net", ("layer1", "layer2"))]
    (tmp_path / "net.py").write_text((tmp_path / "net.py").read_text() + "\n# another\n")
    digests = {Architecture(backbone=backbone).digest for backbone in (*backbones, traced(tmp_path))}
    assert len(digests) == 4


def test_one_place_under_two_names_is_refused(tmp_path: Path) -> None:
    """The output of a sequence is that of its last member; after a ReLU in place the values are others."""
    write_networks(tmp_path)
    with pytest.raises(OwnCodeError, match=r"'layer1\.1' and 'layer1' in net are one place"):
        trace("net:net", ("layer1.1", "layer1"), {}, in_channels=1, classes=3, image_size=(8, 8), folder=tmp_path)
    known = trace("net:net", ("stem.1", "stem"), {}, in_channels=1, classes=3, image_size=(8, 8), folder=tmp_path)
    assert [site.name for site in known.sites] == ["stem.1", "stem"]
