"""Studies that start from trained weights: what is refused first, and one that fine-tunes what another study found."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import cbam_search
from cbam_search.architecture import Architecture
from cbam_search.backbones.builder import build
from cbam_search.cli.commands import app
from cbam_search.cli.main import main
from cbam_search.errors import ConfigError, SpaceError, UserError, WeightsError
from cbam_search.records.events import EpochFinished
from cbam_search.records.ledger import read_events
from cbam_search.study.config import read_study_config
from cbam_search.study.make_plan import StandIn, make_plan
from cbam_search.study.preparation import prepare

STUDY: dict[str, Any] = {
    "name": "tuned",
    "dataset": {"source": "digits", "limit": 600},
    "backbone": {"family": "cifar_resnet", "depth": 8, "width": 0.25, "weights": "bare.safetensors"},
    "attention": {"per": "network", "kind": ["none", "se", "cbam", "gc"]},
    "training": {"epochs": 1, "lr": 0.01, "warmup_epochs": 0},
    "search": {"trials": 4, "baselines": ["none", "se", "cbam"]},
    "records": {"keep": "all"},
    "tracking": {"mlflow": False},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes))
    return path


def save_bare(folder: Path, name: str = "cifar_resnet8_0.25", file: str = "bare.safetensors", **ends: int) -> None:
    torch.manual_seed(0)
    network = build(Architecture.named(name, **({"in_channels": 1, "classes": 10} | ends)))
    save_file(network.state_dict(), folder / file)


@pytest.mark.parametrize("ask", [cbam_search.launch, make_plan])
class TestRefusedBeforeAnythingIsStarted:
    def refused(self, ask, folder: Path, error: type[UserError], words: str, **changes: Any) -> None:
        path = write(folder, **changes)
        before = sorted(folder.iterdir())
        with pytest.raises(error, match=words):
            ask(path)
        assert sorted(folder.iterdir()) == before

    def test_no_file_a_folder_and_a_damaged_file(self, ask, tmp_path: Path) -> None:
        self.refused(ask, tmp_path, WeightsError, r"bare\.safetensors: these weights cannot be read: No such file")
        (tmp_path / "bare.safetensors").mkdir()
        self.refused(ask, tmp_path, WeightsError, "Is a directory")
        (tmp_path / "bare.safetensors").rmdir()
        (tmp_path / "bare.safetensors").write_bytes(b"hello")
        self.refused(ask, tmp_path, WeightsError, "damaged, or not a safetensors file")

    def test_another_network_and_other_channels(self, ask, tmp_path: Path) -> None:
        save_bare(tmp_path, "cifar_resnet14_0.25")
        self.refused(ask, tmp_path, WeightsError, r"unexpected: layer1\.1\.bn1\.bias \(4\)")
        save_bare(tmp_path, in_channels=3)
        self.refused(ask, tmp_path, WeightsError, "the data have 1: set dataset.channels: 3")

    def test_one_file_for_several_backbones(self, ask, tmp_path: Path) -> None:
        backbone = STUDY["backbone"] | {"depth": [8, 14]}
        self.refused(ask, tmp_path, ConfigError, r"space\.yaml:\d+: backbone: weights: a file holds", backbone=backbone)

    def test_attention_that_cannot_start_as_the_identity_there(self, ask, tmp_path: Path) -> None:
        save_bare(tmp_path)
        words = r"attention\.position post and backbone\.weights: .*eca as 0\.5 times.*branch_end, pre\. Take one of these"
        attention = {"kind": ["none", "eca"], "position": ["branch_end", "post"]}
        self.refused(ask, tmp_path, SpaceError, words, attention=attention)


@pytest.mark.parametrize("command", ["plan", "launch"])
def test_the_command_line_says_it_in_a_sentence(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cbam-search", command, str(write(tmp_path))])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said == f"error: {tmp_path / 'bare.safetensors'}: these weights cannot be read: No such file or directory\n"


def test_plan_without_data_checks_them_too_and_warns(tmp_path: Path) -> None:
    save_bare(tmp_path, classes=7)
    plan = make_plan(write(tmp_path), stand_in=StandIn(image_size=8, classes=10, channels=1))
    (note,) = plan.notes
    assert "has 7 classes and the data have 10" in note
    result = CliRunner().invoke(
        app, ["plan", str(tmp_path / "space.yaml"), "--image-size", "8", "--classes", "10", "--channels", "1"]
    )
    assert f"warning: {note}" in result.output


def test_several_backbones_with_a_file_each(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    files = {"cifar_resnet8_0.25": "bare8.safetensors", "cifar_resnet14_0.25": "sub/bare14.safetensors"}
    for name, file in files.items():
        save_bare(tmp_path, name, file)
    backbone = STUDY["backbone"] | {"depth": [8, 14], "weights": files}
    config, _ = read_study_config(write(tmp_path, backbone=backbone, search={"trials": 6, "baselines": ["none", "se"]}))
    prepared = prepare(config)
    found = {entry.name: weights.path for entry, weights in prepared.pretrained.items()}
    assert found == {name: tmp_path / file for name, file in files.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
class TestFineTuning:
    @pytest.fixture
    def bare(self, tmp_path: Path) -> Path:
        """Weights of the bare network, trained by a study of its own and exported."""
        first = STUDY | {"name": "first", "backbone": {"family": "cifar_resnet", "depth": 8, "width": 0.25}}
        first |= {"training": {"epochs": 6, "lr": 0.2}, "attention": {"kind": "none"}}
        (tmp_path / "first.yaml").write_text(yaml.safe_dump(first | {"search": {"trials": 1, "baselines": ["none"]}}))
        study = cbam_search.launch(tmp_path / "first.yaml")
        exported = study.export(tmp_path / "exported")
        (exported / "weights.safetensors").rename(tmp_path / "bare.safetensors")
        return tmp_path / "bare.safetensors"

    def test_a_study_goes_on_from_the_export_of_another(self, bare: Path, tmp_path: Path) -> None:
        accuracy = cbam_search.open_study("first").trials[0].values["accuracy"]
        study = cbam_search.launch(write(tmp_path))
        tuned = [trial for trial in study.trials.values() if trial.was_trained]
        assert len(tuned) == 4
        # One epoch at a low rate, from scratch, does not get far; from the weights it stays at what they had.
        assert all(trial.values["accuracy"] > accuracy - 0.05 for trial in tuned)
        backbone = {name: value for name, value in STUDY["backbone"].items() if name != "weights"}
        scratch = cbam_search.launch(write(tmp_path, backbone=backbone, name="scratch"))
        assert max(trial.values["accuracy"] for trial in scratch.trials.values() if trial.was_trained) < accuracy - 0.2
        events = [event for event, _ in read_events(study.folder.ledger)]
        losses = {event.trial: event.metrics["train_loss"] for event in events if isinstance(event, EpochFinished)}
        assert max(losses.values()) < 0.6

        # What is exported holds the trained weights, and needs no others.
        (with_cbam,) = [trial for trial in tuned if trial.candidate.label == "cifar_resnet8_0.25+cbam"]
        bare.unlink()
        folder = study.export(tmp_path / "best", pick=str(with_cbam.number))
        spec = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
        model = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(model)
        trained = load_file(study.folder.weights(with_cbam.evaluation))
        assert all(torch.equal(trained[name], value) for name, value in model.load().state_dict().items())
        assert (trained["layer1.0.branch_end.channel_gate.mlp.2.bias"] - 2.5).abs().max() < 0.5  # opened, and moved little
        assert trained["layer1.0.branch_end.channel_gate.mlp.2.weight"].any()

    def test_resuming_asks_for_the_same_weights_wherever_they_are(self, bare: Path, tmp_path: Path) -> None:
        study = cbam_search.launch(write(tmp_path))
        (digest,) = study.manifest.weights.values()
        assert list(study.manifest.weights) == ["cifar_resnet8_0.25"]
        assert len(digest) == 64
        bare.rename(tmp_path / "moved.safetensors")
        text = study.folder.given_yaml.read_text()
        study.folder.given_yaml.write_text(text.replace("bare.safetensors", "moved.safetensors"))
        assert cbam_search.resume("tuned").trials == study.trials
        weights = load_file(tmp_path / "moved.safetensors")
        save_file(weights | {"fc.bias": weights["fc.bias"] + 1}, tmp_path / "moved.safetensors")
        with pytest.raises(UserError, match=r"weights that study tuned started from.*have changed.*cifar_resnet8_0\.25"):
            cbam_search.resume("tuned")
        study.folder.given_yaml.write_text(text.replace("  weights: bare.safetensors\n", ""))
        with pytest.raises(UserError, match="have changed since it began"):
            cbam_search.resume("tuned")
        assert cbam_search.open_study("tuned").trials == study.trials
