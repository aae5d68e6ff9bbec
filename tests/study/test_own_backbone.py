"""A whole small study over a user's own network on the digits: searched, read, resumed, exported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from own_networks import NETWORKS

import cbam_search
from cbam_search.architecture import OwnBackbone
from cbam_search.errors import CodeNotAllowedError, OwnCodeError, StudyFailedError, UserError
from cbam_search.records.trials import TrialState
from cbam_search.report.placement import placement_text
from cbam_search.tracking.notes import trial_note

SPACE = {
    "name": "own",
    "dataset": {"source": "digits", "limit": 400},
    "backbone": {"module": "study_net:net", "sites": ["layer1", "layer1.0", "layer2"], "arguments": {"width": [0.5, 1.0]}},
    "attention": {"kind": ["none", "se", "cbam"]},
    "training": {"epochs": 1, "lr": 0.2, "warmup_epochs": 0},
    "search": {"trials": 6, "published_backbones": 1},
    "tracking": {"mlflow": False},
}


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_from_launch_to_export(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    (tmp_path / "study_net.py").write_text(NETWORKS)

    study = cbam_search.launch("space.yaml", allow_code=True)
    trained = [trial for trial in study.trials.values() if trial.was_trained]
    assert [trial.state for trial in trained] == [TrialState.COMPLETE] * 6
    assert list(study.manifest.published) == ["net(width=0.5)", "net(width=0.5)+se", "net(width=0.5)+cbam"]
    backbones = {trial.candidate.architecture.backbone for trial in trained}
    sources = {backbone.source for backbone in backbones if isinstance(backbone, OwnBackbone)}
    assert sources == {study.manifest.backbone_source}

    sys.modules.pop("study_net", None)  # what follows reads the records alone
    again = cbam_search.open_study("own")
    assert [placement_text(trial.candidate.architecture) for trial in trained[:3]] == ["...", "SSS", "CCC"]
    note = trial_note(2, again.trials[2].candidate)
    assert "Attention, by site:" in note
    assert "- layer1.0: cbam (" in note
    with pytest.raises(CodeNotAllowedError, match="--allow-code"):
        again.export("best")
    with pytest.raises(CodeNotAllowedError, match="--allow-code"):
        cbam_search.resume("own")
    assert "study_net" not in sys.modules

    assert cbam_search.resume("own", allow_code=True).trials == study.trials
    assert (again.export("best", allow_code=True) / "own_backbone.py").read_text() == NETWORKS

    (tmp_path / "study_net.py").write_text(NETWORKS + "\nraise RuntimeError('ran')\n")
    with pytest.raises(UserError, match=r"source of study_net:net has changed since study own began .*study_net.py"):
        cbam_search.resume("own", allow_code=True)
    with pytest.raises(OwnCodeError, match="is not that which the architecture was made with"):
        again.export("best", allow_code=True)


FAILS_TO_TRAIN = """
class FailsToTrain(Net):
    def forward(self, x):
        if self.training and torch.is_grad_enabled() and x.shape[0] > 2:
            raise RuntimeError("this network cannot be trained")
        return super().forward(x)

def fails(in_channels, classes):
    return FailsToTrain(in_channels, classes)
"""


def test_the_same_error_again_and_again_stops_the_study_inline(tmp_path: Path) -> None:
    """In this process, without Ray: what a debugger would see. The traceback of each failed training is kept."""
    backbone = {"module": "study_net:fails", "sites": ["layer1", "layer2"]}
    space = SPACE | {"backbone": backbone, "resources": {"executor": "inline"}}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    (tmp_path / "study_net.py").write_text(NETWORKS + FAILS_TO_TRAIN)
    with pytest.raises(StudyFailedError, match=r"3 trials failed for the same reason.*this network cannot be trained"):
        cbam_search.launch("space.yaml", allow_code=True)
    study = cbam_search.open_study("own")
    trained = [trial for trial in study.trials.values() if trial.was_trained]
    assert [trial.state for trial in trained] == [TrialState.FAILED] * 3
    for trial in trained:
        traceback = study.folder.error(trial.evaluation).read_text()
        assert traceback.startswith("Traceback")
        assert "study_net.py" in traceback


def test_an_inline_study_starts_no_ray_and_is_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_ray(*_arguments: object, **_options: object) -> None:
        pytest.fail("Ray was started")

    monkeypatch.setattr("ray.init", no_ray)
    space = SPACE | {"resources": {"executor": "inline"}, "search": {"trials": 3, "published_backbones": 1}}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    (tmp_path / "study_net.py").write_text(NETWORKS)
    study = cbam_search.launch("space.yaml", allow_code=True)
    assert [trial.state for trial in study.trials.values() if trial.was_trained] == [TrialState.COMPLETE] * 3
    assert (study.export("best", allow_code=True) / "model.py").is_file()
    assert len(cbam_search.resume("own", trials=4, allow_code=True).front.ranks) == 4
