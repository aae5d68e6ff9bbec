"""Files of weights: what is understood, what is said, and what is refused with every key listed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from cbam_search.architecture import Architecture, Backbone
from cbam_search.backbones.builder import build
from cbam_search.backbones.pretrained import build_start, load_pretrained
from cbam_search.errors import WeightsError

RESNET18 = Backbone(family="resnet", depth=18)
SMALL = Backbone(family="cifar_resnet", depth=8, width=0.25, stem="cifar", in_channels=1, classes=10)
Tensors = dict[str, Tensor]


def torchvision_resnet18() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's resnet18().state_dict(), written out by its layers."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{key}": (channels,) for key in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["conv1.weight"] = (64, 3, 7, 7)
    norm("bn1", 64)
    channels = 64
    for layer, width in ((1, 64), (2, 128), (3, 256), (4, 512)):
        for block in (0, 1):
            for number in (1, 2):
                shapes[f"layer{layer}.{block}.conv{number}.weight"] = (width, channels, 3, 3)
                norm(f"layer{layer}.{block}.bn{number}", width)
                entering, channels = channels, width
                if number == 1:
                    first = entering
            if block == 0 and layer > 1:
                shapes[f"layer{layer}.0.downsample.0.weight"] = (width, first, 1, 1)
                norm(f"layer{layer}.0.downsample.1", width)
    shapes |= {"fc.weight": (1000, 512), "fc.bias": (1000,)}
    return shapes


def tensors_of(backbone: Backbone, seed: int = 0) -> Tensors:
    torch.manual_seed(seed)
    return build(Architecture(backbone=backbone)).state_dict()


def saved(tensors: object, path: Path) -> Path:
    torch.save(tensors, path)
    return path


def test_torchvision_s_names_and_shapes(tmp_path: Path) -> None:
    shapes = torchvision_resnet18()
    assert len(shapes) == 122  # as torchvision's
    tensors = {name: torch.rand(shape) if shape else torch.tensor(7) for name, shape in shapes.items()}
    weights = load_pretrained(saved(tensors, tmp_path / "resnet18.pth"), RESNET18)
    assert weights.notes == ()
    network = build_start(Architecture(backbone=RESNET18), {RESNET18.canonical(): weights})
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "epoch": 7},
        lambda tensors: {"model": tensors, "optimizer": {"lr": 0.1}},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {"state_dict": {f"module._orig_mod.{name}": tensor for name, tensor in tensors.items()}},
    ],
)
def test_containers_and_prefixes(wrap, tmp_path: Path) -> None:
    tensors = tensors_of(SMALL)
    wrapped = wrap(tensors)
    weights = load_pretrained(saved(wrapped, tmp_path / "weights.pt"), SMALL)
    beside = [name for name in ("epoch", "optimizer") if name in wrapped]
    assert weights.notes == tuple(f"weights.pt: only its state dict is read; beside it lie {name}" for name in beside)
    assert weights.tensors.keys() == tensors.keys()
    assert all(torch.equal(weights.tensors[name], tensor) for name, tensor in tensors.items())


def test_safetensors_and_the_digest(tmp_path: Path) -> None:
    tensors = tensors_of(SMALL)
    save_file(tensors, tmp_path / "weights.safetensors")
    weights = load_pretrained(tmp_path / "weights.safetensors", SMALL)
    assert all(torch.equal(weights.tensors[name], tensor) for name, tensor in tensors.items())
    save_file(tensors | {"fc.bias": torch.zeros(10)}, tmp_path / "weights.safetensors")
    assert load_pretrained(tmp_path / "weights.safetensors", SMALL).sha256 != weights.sha256


def test_half_precision_becomes_the_network_s(tmp_path: Path) -> None:
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors_of(SMALL).items()}
    weights = load_pretrained(saved(tensors, tmp_path / "w.pt"), SMALL)
    network = build_start(Architecture(backbone=SMALL), {SMALL.canonical(): weights})
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_head_of_other_classes_starts_afresh_and_that_is_said(tmp_path: Path) -> None:
    tensors = tensors_of(SMALL.model_copy(update={"classes": 3}))
    weights = load_pretrained(saved(tensors, tmp_path / "w.pt"), SMALL)
    assert weights.tensors.keys() == tensors.keys() - {"fc.weight", "fc.bias"}
    assert weights.notes == ("w.pt: its last layer (fc) has 3 classes and the data have 10, so that this layer starts afresh",)
    network = build_start(Architecture(backbone=SMALL), {SMALL.canonical(): weights})
    assert network.fc.weight.shape == (10, 16)


def test_missing_counters_are_said(tmp_path: Path) -> None:
    tensors = {name: t for name, t in tensors_of(SMALL).items() if not name.endswith("num_batches_tracked")}
    (note,) = load_pretrained(saved(tensors, tmp_path / "w.pt"), SMALL).notes
    assert "7 batch norms lack num_batches_tracked" in note


def test_bottlenecks_of_v1_are_asked_about(tmp_path: Path) -> None:
    for variant, asked in (("v1", True), ("v1.5", False)):
        backbone = Backbone(family="resnet", depth=50, width=0.0625, variant=variant)
        notes = load_pretrained(saved(tensors_of(backbone), tmp_path / "w.pt"), backbone).notes
        assert any("set backbone.variant: v1.5" in note for note in notes) is asked
    assert not load_pretrained(saved(tensors_of(SMALL), tmp_path / "w.pt"), SMALL).notes


class TestKeysThatDoNotFit:
    names = sorted(tensors_of(SMALL))

    def refused(self, tensors: Tensors, folder: Path) -> str:
        with pytest.raises(WeightsError) as caught:
            load_pretrained(saved(tensors, folder / "w.pt"), SMALL)
        return str(caught.value)

    @settings(max_examples=30, deadline=None)
    @given(data=st.data())
    def test_each_is_listed(self, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
        needed = [name for name in self.names if not name.endswith("num_batches_tracked")]
        drawn = data.draw(st.lists(st.sampled_from(needed), min_size=1, max_size=8, unique=True))
        fates = {name: data.draw(st.sampled_from(("missing", "shape", "nan"))) for name in drawn}
        odd = data.draw(st.lists(st.sampled_from(("layer9.weight", "classifier.bias", "bn")), max_size=2, unique=True))
        tensors = dict(tensors_of(SMALL)) | {name: torch.zeros(2, 3) for name in odd}
        for name, fate in fates.items():
            if fate == "missing":
                del tensors[name]
            else:
                tensors[name] = torch.zeros(4, 1, 9) if fate == "shape" else tensors[name] * torch.nan
        message = self.refused(tensors, tmp_path_factory.mktemp("keys"))
        lines = {line.split(":")[0].strip(): line for line in message.splitlines()[1:]}
        for name, fate in fates.items():
            assert name in lines[{"missing": "missing", "shape": "of another shape", "nan": "not finite"}[fate]]
            if fate == "shape":
                assert f"{name} (4, 1, 9), needed (" in lines["of another shape"]
        for name in odd:
            assert f"{name} (2, 3)" in lines["unexpected"]

    def test_many_are_counted(self, tmp_path: Path) -> None:
        message = self.refused({"conv1.weight": torch.zeros(4, 1, 3, 3)}, tmp_path)
        absent = [name for name in self.names if not name.endswith("num_batches_tracked")]
        assert f"; and {len(absent) - 1 - 10} more" in message
        assert "(4, 4, 3, 3)" in message

    def test_a_network_of_attention_is_not_bare(self, tmp_path: Path) -> None:
        tensors = build(Architecture.named("cifar_resnet8_0.25+se", in_channels=1, classes=10)).state_dict()
        assert "unexpected: layer1.0.branch_end.mlp.0.bias (1)" in self.refused(tensors, tmp_path)

    def test_weights_for_images_of_other_channels(self, tmp_path: Path) -> None:
        message = self.refused(tensors_of(SMALL.model_copy(update={"in_channels": 3})), tmp_path)
        assert "conv1.weight (4, 3, 3, 3), needed (4, 1, 3, 3)" in message
        assert "the data have 1: set dataset.channels: 3, or change conv1.weight in the file" in message

    def test_a_head_of_other_features_is_another_network_s(self, tmp_path: Path) -> None:
        tensors = tensors_of(SMALL) | {"fc.weight": torch.zeros(3, 99), "fc.bias": torch.zeros(3)}
        assert "fc.bias (3), needed (10); fc.weight (3, 99), needed (10, 16)" in self.refused(tensors, tmp_path)


class Evil:
    """What a pickle can do to whoever loads it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = saved(tensors_of(SMALL) | {"extra": Evil(tmp_path / "ran")}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"holds \w+\.mkdir, not tensors alone.*nothing of it was run"):
        load_pretrained(path, SMALL)
    assert not (tmp_path / "ran").exists()
    with path.open("wb") as file:
        pickle.dump(Evil(tmp_path / "ran"), file, protocol=2)
    with pytest.raises(WeightsError):
        load_pretrained(path, SMALL)
    assert not (tmp_path / "ran").exists()


def test_a_whole_module_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = saved(build(Architecture(backbone=SMALL)), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"Network, not tensors alone.*torch\.save\(model\.state_dict\(\), PATH\)"):
        load_pretrained(path, SMALL)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.pt", b"", "damaged, or not a file of torch.save"),
        ("w.pt", b"hello world" * 10, "damaged, or not a file of torch.save"),
        ("w.safetensors", b"", "damaged, or not a safetensors file"),
        ("w.safetensors", b"hello world" * 10, "damaged, or not a safetensors file"),
    ],
)
def test_damaged_files(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=words) as caught:
        load_pretrained(tmp_path / name, SMALL)
    assert str(tmp_path / name) in str(caught.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path / "none.safetensors"):
        with pytest.raises(WeightsError, match="cannot be read: No such file"):
            load_pretrained(path, SMALL)
    for name in ("folder.pt", "folder.safetensors"):
        (tmp_path / name).mkdir()
        with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
            load_pretrained(tmp_path / name, SMALL)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"conv1.weight": 7}, {"net": {"conv1.weight": torch.zeros(1)}}, torch.zeros(3)]
)
def test_what_is_no_state_dict(content: object, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="state dict"):
        load_pretrained(saved(content, tmp_path / "w.pt"), SMALL)


def test_a_backbone_without_weights_beside_others(tmp_path: Path) -> None:
    weights = load_pretrained(saved(tensors_of(SMALL), tmp_path / "w.pt"), SMALL)
    other = SMALL.model_copy(update={"depth": 14})
    with pytest.raises(WeightsError, match=r"none for cifar_resnet14_0\.25"):
        build_start(Architecture(backbone=other), {SMALL.canonical(): weights})
