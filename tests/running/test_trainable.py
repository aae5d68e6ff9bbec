"""The worker, in this process: results on disk before they are reported, expected ends as results, warm reuse."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cbam_search.running.trainable import TrainingJob
from workers import InProcess, config_of, outcome_of

from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.errors import DeviceMemoryError
from cbam_search.metrics import binomial_error
from cbam_search.records.folder import StudyFolder
from cbam_search.records.results import read_result
from cbam_search.records.trials import TrialState
from cbam_search.running import trainable as trainable_module
from cbam_search.training.checkpoint import load_predictions
from cbam_search.training.config import TrainingConfig
from cbam_search.training.numerics import NUMERICS_VERSION


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load(DatasetConfig(source="digits", limit=200), seed=0)


def worker(data: ImageData, folder: Path, evaluation: str = "0", **recipe: Any) -> InProcess:
    job = TrainingJob(
        recipe=TrainingConfig(**({"epochs": 2, "batch_size": 64} | recipe)),
        seed=0,
        study=folder,
        keep_weights=True,
        threads=1,
        on_gpu=False,
    )
    kind = type("Worker", (InProcess,), {"data": data, "job": job})
    return kind(config_of(evaluation))


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    return result | {"seconds": 0, "processor_seconds": 0}


def test_one_step_an_epoch_and_the_result_on_disk_before_it_is_reported(digits: ImageData, tmp_path: Path) -> None:
    actor = worker(digits, tmp_path)
    first, last = actor.step(), actor.step()
    assert (first["epoch"], last["epoch"]) == (1, 2)
    assert "done" not in first
    assert last["done"]
    outcome = outcome_of(last)
    assert outcome == read_result(StudyFolder(tmp_path).result("0"))
    assert (outcome.state, outcome.epochs) == (TrialState.COMPLETE, 2)
    assert outcome.metrics["accuracy"].value == last["metrics"]["accuracy"]
    assert StudyFolder(tmp_path).weights("0").is_file()


def test_a_warm_worker_trains_the_next_candidate_as_a_fresh_one_would(digits: ImageData, tmp_path: Path) -> None:
    warm = worker(digits, tmp_path / "warm")
    while not warm.step().get("done"):
        pass
    assert warm.reset_config(config_of("1", "cifar_resnet8_0.25+se"))
    fresh = worker(digits, tmp_path / "fresh", evaluation="9")
    fresh.reset_config(config_of("1", "cifar_resnet8_0.25+se"))
    assert timeless(warm.step()) == timeless(fresh.step())


def test_a_worker_whose_trial_was_stopped_trains_the_next_as_a_fresh_one_would(digits: ImageData, tmp_path: Path) -> None:
    """Tune hands a stopped trial's actor the next candidate, in the middle of a training."""
    warm = worker(digits, tmp_path / "warm", epochs=5)
    assert "done" not in warm.step()
    assert warm.reset_config(config_of("1", "cifar_resnet8_0.25+se"))
    fresh = worker(digits, tmp_path / "fresh", evaluation="9", epochs=5)
    fresh.reset_config(config_of("1", "cifar_resnet8_0.25+se"))
    assert timeless(warm.step()) == timeless(fresh.step())
    assert not StudyFolder(tmp_path / "warm").result("0").exists()


def test_divergence_is_a_result(digits: ImageData, tmp_path: Path) -> None:
    actor = worker(digits, tmp_path, lr=100.0, warmup_epochs=0, weight_decay=1.0, epochs=30)
    result: dict[str, Any] = {}
    while not result.get("done"):
        result = actor.step()
    assert outcome_of(result).state is TrialState.DIVERGED
    assert outcome_of(result).metrics == {}
    assert not StudyFolder(tmp_path).weights("0").exists()


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (DeviceMemoryError("40 GiB"), TrialState.INFEASIBLE, "out of memory on cpu: 40 GiB"),
        (RuntimeError("no such kernel"), TrialState.FAILED, "RuntimeError at test_trainable.py:"),
    ],
)
def test_errors_are_results(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, state: TrialState, words: str
) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(trainable_module, "train", broken)
    result = worker(digits, tmp_path).step()
    assert result["done"]
    assert outcome_of(result).state is state
    assert words in (outcome_of(result).reason or "")


def test_stopped_in_the_middle_it_goes_on_from_its_checkpoint(digits: ImageData, tmp_path: Path) -> None:
    whole = worker(digits, tmp_path / "whole", epochs=3)
    expected = [whole.step() for _ in range(3)]
    stopped = worker(digits, tmp_path / "parts", epochs=3)
    stopped.step()
    stopped.cleanup()
    resumed = worker(digits, tmp_path / "parts", epochs=3)
    rest = [resumed.step() for _ in range(2)]
    assert [row["epoch"] for row in rest] == [2, 3]
    assert [row["metrics"]["train_loss"] for row in rest] == [row["metrics"]["train_loss"] for row in expected[1:]]


def test_what_was_finished_is_not_trained_again(digits: ImageData, tmp_path: Path) -> None:
    first = worker(digits, tmp_path, epochs=1)
    outcome = outcome_of(first.step())
    again = worker(digits, tmp_path, epochs=1).step()
    assert again["done"]
    assert outcome_of(again) == outcome
    assert "epoch" not in again


def test_data_in_read_only_memory_is_trained_on(digits: ImageData, tmp_path: Path) -> None:
    """Ray's object store hands out read-only arrays."""
    for array in (digits.train.images, digits.train.labels, digits.validation.images):
        array.flags.writeable = False
    assert worker(digits, tmp_path).step()["epoch"] == 1
    assert isinstance(digits.train.images, np.ndarray)


def test_workers_import_neither_mlflow_nor_optuna() -> None:
    code = (
        "import sys, cbam_search.running.trainable; print([m for m in ('mlflow', 'optuna', 'sqlalchemy') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_threads_are_those_of_the_trial(digits: ImageData, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    worker(digits, tmp_path)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_predictions_are_kept_where_they_are_asked_for(digits: ImageData, tmp_path: Path) -> None:
    actor = worker(digits, tmp_path, epochs=1)
    path = StudyFolder(tmp_path).predictions("0")
    actor.step()
    assert not path.exists()
    actor._job = replace(actor._job, keep_predictions=True)
    assert actor.reset_config(config_of("another"))
    last = actor.step()
    predicted = load_predictions(StudyFolder(tmp_path).predictions("another"))
    assert predicted.shape == digits.validation.labels.shape
    assert float(np.mean(predicted == digits.validation.labels)) == pytest.approx(last["metrics"]["accuracy"])


def test_metrics_of_a_complete_training_carry_their_errors(digits: ImageData, tmp_path: Path) -> None:
    outcome = outcome_of(worker(digits, tmp_path, epochs=1).step())
    images = len(digits.validation)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        measured = outcome.metrics[name]
        assert measured.n == images
        assert measured.standard_error is not None
        assert 0 < measured.standard_error < 0.5
    assert outcome.metrics["accuracy"].standard_error == binomial_error(outcome.metrics["accuracy"].value, images)
    assert outcome.metrics["train_loss"].standard_error is None
    assert outcome.numerics_version == NUMERICS_VERSION


def test_a_damaged_result_or_checkpoint_is_put_aside_and_trained_again(digits: ImageData, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "damaged")
    folder.evaluation("0").mkdir(parents=True)
    folder.result("0").write_text('{"state": "comp')
    folder.checkpoint("0").write_bytes(b"no tensors")
    actor = worker(digits, tmp_path / "damaged")
    fresh = worker(digits, tmp_path / "fresh")
    assert [actor.step()["metrics"] for _ in range(2)] == [fresh.step()["metrics"] for _ in range(2)]
    assert folder.result("0").with_name("result.json.damaged").exists()
    assert folder.checkpoint("0").with_name("checkpoint.safetensors.damaged").exists()
