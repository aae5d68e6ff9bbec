from __future__ import annotations

import importlib.util
import json
import shutil
import stat
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from cbam_search.architecture import ATTENTION_KINDS, POOLS, Architecture, Backbone, CbamSpec, SeSpec
from cbam_search.backbones.builder import build
from cbam_search.errors import ExportError
from cbam_search.export import module as export_module
from cbam_search.export.module import write_module
from cbam_search.export.verification import TOLERANCE, verify

CIFAR = Backbone(family="cifar_resnet", depth=32, width=0.5, stem="cifar", in_channels=1, classes=3)
RESNET = Backbone(family="resnet", depth=18, width=0.0625, classes=3)
BOTTLENECK = Backbone(family="resnet", depth=50, width=0.0625, variant="v1.5", stem="cifar", classes=3)
MOBILENET = Backbone(family="mobilenet", depth=20, width=0.0625, classes=3)
RESNEXT = Backbone(family="resnext", depth=50, width=0.25, cardinality=2, base_width=8, classes=3)
CLASS_NAMES = ("cat\udc80", "d'o\"g\\\n", 'a "bird"')
SPECS = (
    SeSpec(reduction_ratio=4),
    CbamSpec(pools=POOLS, spatial_kernel_size=3),
    CbamSpec(spatial_kernel_size=None),
    None,
    CbamSpec(order="spatial_first", spatial_descriptor="conv"),
    CbamSpec(order="parallel", channel_mlp="per_pool"),
    *(ATTENTION_KINDS[kind].model_validate({"kind": kind}) for kind in ATTENTION_KINDS),
)


def mixed(backbone: Backbone) -> Architecture:
    """Every kind of attention somewhere, if there are sites enough."""
    specs = zip(backbone.sites, cycle(SPECS))
    return Architecture(backbone=backbone, attention={site.name: spec for site, spec in specs if spec is not None})


def trained(architecture: Architecture, seed: int = 0) -> nn.Module:
    """A network none of whose weights or statistics is as it was built."""
    torch.manual_seed(seed)
    network = build(architecture)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    network(torch.randn(8, architecture.backbone.in_channels, 8, 8))
    return network.eval()


def export(architecture: Architecture, network: nn.Module, output: Path, **changes) -> Path:
    channels = architecture.backbone.in_channels
    settings = {
        "class_names": CLASS_NAMES,
        "mean": (0.5,) * channels,
        "std": (0.25,) * channels,
        "image_size": (8, 10),
    } | changes
    return write_module(architecture, network.state_dict(), output, **settings)


def imported(folder: Path):
    spec = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("backbone", [CIFAR, RESNET, BOTTLENECK, RESNEXT], ids=lambda backbone: backbone.name)
def test_the_module_computes_what_the_network_does_and_can_be_trained_on(backbone, tmp_path):
    architecture = mixed(backbone)
    network = trained(architecture)
    model = imported(export(architecture, network, tmp_path / "deep" / "out"))
    images = torch.randn(4, backbone.in_channels, 8, 10)
    loaded = model.load()
    torch.testing.assert_close(loaded(images), network(images), rtol=0, atol=TOLERANCE * network(images).abs().max().item())
    loaded.train()(images).square().sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())
    assert model.build().state_dict().keys() == network.state_dict().keys()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    architecture = mixed(CIFAR)
    folder = tmp_path_factory.mktemp("export") / "out"
    return export(architecture, trained(architecture), folder, description='Says "yes".\\', metadata={"trial": 7})


def test_folder(exported):
    assert {path.name for path in exported.iterdir()} - {"__pycache__"} == export_module.FILES
    assert [path.name for path in exported.parent.iterdir()] == ["out"]
    assert all(path.stat().st_mode & stat.S_IRGRP for path in exported.iterdir())
    details = json.loads((exported / "architecture.json").read_text())
    assert Architecture.model_validate(details["architecture"]).digest == details["digest"] == mixed(CIFAR).digest
    assert details["metadata"] == {"trial": 7}
    assert tuple(details["class_names"]) == imported(exported).CLASS_NAMES == CLASS_NAMES
    assert "model.predict" in (exported / "README.md").read_text()


def test_module_is_formatted_and_imports_torch_and_the_standard_library_only(exported):
    for command in (["format", "--check"], ["check", "--select", "E,F,I"]):
        options = ["--no-cache", "--isolated", "--config", "line-length=128"]
        subprocess.run([sys.executable, "-m", "ruff", *command, *options, "model.py"], cwd=exported, check=True)
    lines = (exported / "model.py").read_text().splitlines()
    roots = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert roots - sys.stdlib_module_names - {"__future__"} == {"torch"}


def test_predict_and_preprocess(exported):
    model = imported(exported)
    images = torch.randint(0, 256, (5, 1, 8, 10), dtype=torch.uint8)
    torch.testing.assert_close(model.preprocess(images), (images / 255 - 0.5) / 0.25)
    predictions = model.predict(model.load(), images)
    logits = model.load()(model.preprocess(images))
    assert [name for name, _ in predictions] == [model.CLASS_NAMES[label] for label in logits.argmax(1)]
    assert [probability for _, probability in predictions] == pytest.approx(logits.softmax(1).amax(1).tolist())
    assert len(model.predict(model.load(), torch.zeros(2, 1, 33, 21, dtype=torch.uint8))) == 2


WANTED = r"images: give a torch tensor of shape \(N, 1, H, W\) and type uint8, with values from 0 to 255"
IMAGES = torch.zeros(2, 1, 8, 10, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES[0], r"shape \(1, 8, 10\) and type uint8: images.unsqueeze\(0\) makes a batch of a single image"),
        (IMAGES[:, 0], r"shape \(2, 8, 10\) and type uint8: images.unsqueeze\(1\) adds the channel"),
        (IMAGES[0, 0, 0], r"shape \(10,\)"),
        (IMAGES.expand(-1, 3, -1, -1), r"shape \(2, 3, 8, 10\)"),
        (IMAGES.permute(0, 2, 3, 1), r"shape \(2, 8, 10, 1\).*images.permute\(0, 3, 1, 2\) brings the channels"),
        (IMAGES[:0], r"shape \(0, 1, 8, 10\).*holds no image"),
        (IMAGES[:, :, :0], r"shape \(2, 1, 0, 10\).*holds no image"),
        (IMAGES.long() + 7, r"type int64, with values from 7 to 7: images.to\(torch.uint8\) converts it"),
        (IMAGES.int() - 1, r"type int32, with values from -1 to -1$"),
        (IMAGES + 0.5, r"type float32. Where its values are from 0 to 1, \(images \* 255\).round\(\).to\(torch.uint8\)"),
        (IMAGES * 0.5 + 3.5, r"type float32, with values from 3.5 to 3.5: images.to"),
        (IMAGES + float("nan"), r"type float32, and holds values that are not finite"),
        (IMAGES.to(torch.complex64), r"type complex64$"),
    ],
)
def test_predict_refuses_a_tensor_that_is_no_batch_of_images_in_a_sentence(images, words, exported):
    model = imported(exported)
    with pytest.raises(ValueError, match=f"{WANTED}.*{words}"):
        model.predict(model.load(), images)


@pytest.mark.parametrize(
    ("images", "name"),
    [
        ([IMAGES[0]], "a list"),
        (7, "an int"),
        (None, "a NoneType"),
        (IMAGES.numpy(), "a numpy.ndarray"),
        (Image.new("L", (10, 8)), "a PIL.Image.Image"),
    ],
)
def test_predict_refuses_what_is_no_tensor_in_a_sentence(images, name, exported):
    model = imported(exported)
    with pytest.raises(TypeError, match=f"{WANTED}. This is {name}$"):
        model.predict(model.load(), images)


class TestRefusals:
    architecture = mixed(CIFAR)

    def refused(self, output: Path, words: str, **changes) -> None:
        before = sorted(output.parent.rglob("*"))
        with pytest.raises(ExportError, match=words):
            export(self.architecture, changes.pop("network", trained(self.architecture)), output, **changes)
        assert sorted(output.parent.rglob("*")) == before

    def test_a_folder_with_other_files(self, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("dear")
        self.refused(tmp_path / "out", "not an earlier export: it holds thesis.tex")

    def test_a_folder_with_a_readme_or_a_model_of_ones_own(self, tmp_path):
        (tmp_path / "out").mkdir()
        for name in ("README.md", "model.py"):
            (tmp_path / "out" / name).write_text("dear")
            self.refused(tmp_path / "out", "not an earlier export: it holds README.md")

    def test_a_file(self, tmp_path):
        (tmp_path / "out").write_text("dear")
        self.refused(tmp_path / "out", "is a file")

    def test_below_a_file(self, tmp_path):
        (tmp_path / "file").write_text("dear")
        self.refused(tmp_path / "file" / "out", "cannot write")

    def test_weights_of_another_architecture(self, tmp_path):
        self.refused(tmp_path / "out", "not those of", network=trained(mixed(RESNET)))

    def test_counts_that_do_not_fit(self, tmp_path):
        self.refused(tmp_path / "out", "2 class names for a network of 3 classes", class_names=("a", "b"))
        self.refused(tmp_path / "out", "mean and std need 1", mean=(0.5, 0.5, 0.5))


def test_the_check_compares_like_with_like(tmp_path, monkeypatch):
    """Memory layout and number of threads change the order of sums, which deep networks amplify up to the tolerance."""
    differences, strides = [], []

    def check(folder, network, shape):
        differences.append(verify(folder, network, shape))
        strides.extend((value.stride(), torch.empty(value.shape).stride()) for value in network.state_dict().values())

    monkeypatch.setattr(export_module, "verify", check)
    architecture = Architecture.named("resnet18+cbam")
    network = trained(architecture).to(memory_format=torch.channels_last)
    names = tuple(map(str, range(architecture.backbone.classes)))
    export(architecture, network, tmp_path / "out", class_names=names, image_size=(96, 96))
    assert all(0 <= difference <= TOLERANCE for difference in differences)
    # The order of sums is the processor's affair; that both are laid out alike is not.
    assert all(found == plain for found, plain in strides)


def test_an_earlier_export_is_replaced_whole(exported, tmp_path):
    architecture = mixed(CIFAR)
    folder = Path(shutil.copytree(exported, tmp_path / "out"))
    (folder / "README.md").unlink()
    network = trained(architecture, seed=1)
    assert export(architecture, network, folder, std=(0.0,)) == folder
    written = load_file(folder / "weights.safetensors")
    assert all(torch.equal(written[name], value) for name, value in network.state_dict().items())
    assert {path.name for path in folder.iterdir()} == export_module.FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    white = torch.full((1, 1, 8, 10), 255, dtype=torch.uint8)
    assert imported(folder).preprocess(white).amax() == pytest.approx(0.5 * 255)  # a constant channel, as in training


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text.replace("self.relu(self.bn1(self.conv1(self.pre(x))))", "self.bn1(self.conv1(x))"), "logits differ"),
        (lambda text: text.replace("import json\n", "import json\nimport safetensors\n"), "safetensors is neither torch"),
        (lambda text: text.replace("import json\n", "import cbam_search.pareto\nimport json\n"), "cbam_search is neither"),
    ],
)
def test_a_module_that_is_not_right_is_not_left_behind(spoil, words, exported, tmp_path, monkeypatch):
    architecture = mixed(CIFAR)
    folder = Path(shutil.copytree(exported, tmp_path / "out"))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    monkeypatch.setattr(export_module, "model_text", lambda *_: spoil(before["model.py"].decode()))
    with pytest.raises(ExportError, match=words):
        export(architecture, trained(architecture), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
