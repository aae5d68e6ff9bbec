"""A whole small study over a user's own network on the digits: searched, read, resumed, exported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from own_networks import NETWORKS

import cbam_search
from cbam_search.architecture import OwnBackbone
from cbam_search.errors import CodeNotAllowedError, OwnCodeError, UserError
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
