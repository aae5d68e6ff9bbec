"""The worker and a user's own network: imported from the job's folder, where the job allows it, and of the same source only."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_networks import traced, write_networks
from workers import worker_of

from cbam_search.architecture import Architecture, published
from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.device import devices_of_a_trial
from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.metrics import LATENCY
from cbam_search.own_code import CodePermission
from cbam_search.records.folder import StudyFolder
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.latency_meter import LatencyJob
from cbam_search.running.worker_report import EvaluationTask


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load(DatasetConfig(source="digits", limit=200), seed=0)


def outcome(
    digits: ImageData, study: Path, architecture: str, code_from: Path | None, latency: LatencyJob | None = None
) -> Outcome:
    task = EvaluationTask("0", Architecture.model_validate_json(architecture), seed=0)
    permission = CodePermission(code_from)
    ended = worker_of(digits, study, task, recipe={"epochs": 1}, code=permission, latency=latency).step().outcome
    assert ended is not None
    return ended


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    write_networks(tmp_path / "code")
    return tmp_path / "code"


@pytest.fixture
def architecture(code: Path) -> str:
    return published(traced(code, "net", ("layer1", "layer1.0")), "cbam").model_dump_json()


def test_it_trains(digits: ImageData, tmp_path: Path, code: Path, architecture: str) -> None:
    ended = outcome(digits, tmp_path / "study", architecture, code)
    assert ended.state is TrialState.COMPLETE, ended.reason
    assert StudyFolder(tmp_path / "study").weights("0").is_file()


def test_its_latency_is_measured(
    digits: ImageData, tmp_path: Path, code: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (here,) = devices_of_a_trial(on_gpu=False)
    latency = LatencyJob(LatencyConfig(device="cpu", pairs=5), here, at_most=None)
    ended = outcome(digits, tmp_path / "study", architecture, code, latency)
    assert ended.state is TrialState.COMPLETE, ended.reason
    assert ended.metrics[LATENCY].value > 0


def test_it_is_not_imported_where_the_job_does_not_allow_code(
    digits: ImageData, tmp_path: Path, code: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(code)
    ended = outcome(digits, tmp_path / "study", architecture, None)
    assert ended.state is TrialState.FAILED
    assert "CodeNotAllowedError" in (ended.reason or "")


@pytest.mark.parametrize(("text", "words"), [(None, "the module 'net' is not found"), ("1 / 0", "is not that which")])
def test_another_source_fails_the_trial_in_words(
    digits: ImageData, tmp_path: Path, code: Path, architecture: str, text: str | None, words: str
) -> None:
    (code / "net.py").unlink()
    if text:
        (code / "net.py").write_text(text)
    ended = outcome(digits, tmp_path / "study", architecture, code)
    assert ended.state is TrialState.FAILED
    assert "OwnCodeError" in (ended.reason or "")
    assert words in (ended.reason or "")
