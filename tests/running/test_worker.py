"""The worker: the end on disk before it is reported, expected ends as reports, warm reuse, going on from a checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from workers import job_of, task_of, worker_of

from cbam_search.cost.device_lock import LOCKS_VARIABLE, DeviceLock
from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.errors import DeviceMemoryError, RecordsError
from cbam_search.metrics import TEST_ACCURACY, binomial_error
from cbam_search.records.folder import StudyFolder
from cbam_search.records.inbox import Inbox
from cbam_search.records.results import read_epochs, read_result
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running import latency_meter as meter_module
from cbam_search.running import worker as worker_module
from cbam_search.running.delivery import NoInbox
from cbam_search.running.worker import Worker
from cbam_search.running.worker_report import REPORT, TASK, WorkerReport
from cbam_search.training.checkpoint import load_predictions
from cbam_search.training.numerics import NUMERICS_VERSION


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load(DatasetConfig(source="digits", limit=200), seed=0)


def timeless(report: WorkerReport) -> dict[str, Any]:
    assert report.epoch is not None
    return report.epoch.metrics


def last_of(worker: Worker) -> WorkerReport:
    while not (report := worker.step()).ended:
        continue
    return report


def end_of(worker: Worker) -> Outcome:
    outcome = last_of(worker).outcome
    assert outcome is not None
    return outcome


def epoch_of(report: WorkerReport) -> int:
    assert report.epoch is not None
    return report.epoch.epoch


def test_one_step_an_epoch_and_the_end_on_disk_before_it_is_reported(digits: ImageData, tmp_path: Path) -> None:
    worker = worker_of(digits, tmp_path)
    first, last = worker.step(), worker.step()
    assert (epoch_of(first), epoch_of(last)) == (1, 2)
    assert (first.ended, last.ended) == (False, True)
    folder = StudyFolder(tmp_path)
    assert last.outcome == read_result(folder.result("0"))
    assert last.outcome is not None
    assert (last.outcome.state, last.outcome.epochs) == (TrialState.COMPLETE, 2)
    assert last.outcome.metrics["accuracy"].value == timeless(last)["accuracy"]
    assert folder.weights("0").is_file()
    assert read_epochs(folder.epochs("0")) == [first.epoch, last.epoch]


def test_a_warm_worker_trains_the_next_candidate_as_a_fresh_one_would(digits: ImageData, tmp_path: Path) -> None:
    warm = worker_of(digits, tmp_path / "warm")
    last_of(warm)
    warm.begin(task_of("1", "cifar_resnet8_0.25+se"))
    fresh = worker_of(digits, tmp_path / "fresh", task_of("1", "cifar_resnet8_0.25+se"))
    assert timeless(warm.step()) == timeless(fresh.step())


def test_a_worker_whose_trial_was_stopped_trains_the_next_as_a_fresh_one_would(digits: ImageData, tmp_path: Path) -> None:
    """A stopped trial's worker gets the next candidate in the middle of a training."""
    warm = worker_of(digits, tmp_path / "warm", recipe={"epochs": 5})
    assert not warm.step().ended
    warm.begin(task_of("1", "cifar_resnet8_0.25+se"))
    fresh = worker_of(digits, tmp_path / "fresh", task_of("1", "cifar_resnet8_0.25+se"), recipe={"epochs": 5})
    assert timeless(warm.step()) == timeless(fresh.step())
    assert not StudyFolder(tmp_path / "warm").result("0").exists()


def test_divergence_is_an_end(digits: ImageData, tmp_path: Path) -> None:
    recipe = {"lr": 100.0, "warmup_epochs": 0, "weight_decay": 1.0, "epochs": 30}
    outcome = end_of(worker_of(digits, tmp_path, recipe=recipe))
    assert outcome.state is TrialState.DIVERGED
    assert outcome.metrics == {}
    assert not StudyFolder(tmp_path).weights("0").exists()


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (DeviceMemoryError("40 GiB"), TrialState.INFEASIBLE, "out of memory on cpu: 40 GiB"),
        (RuntimeError("no such kernel"), TrialState.FAILED, "RuntimeError at test_worker.py:"),
    ],
)
def test_errors_are_ends(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, state: TrialState, words: str
) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(worker_module, "train", broken)
    outcome = end_of(worker_of(digits, tmp_path))
    assert outcome.state is state
    assert words in (outcome.reason or "")
    written = StudyFolder(tmp_path).error("0")
    assert written.exists() is (state is TrialState.FAILED)
    if written.exists():
        assert "no such kernel" in written.read_text()
        assert written.read_text().startswith("Traceback")


def test_stopped_in_the_middle_it_goes_on_from_its_checkpoint(digits: ImageData, tmp_path: Path) -> None:
    recipe = {"epochs": 3}
    whole = worker_of(digits, tmp_path / "whole", recipe=recipe)
    expected = [whole.step() for _ in range(3)]
    stopped = worker_of(digits, tmp_path / "parts", recipe=recipe)
    first = stopped.step()
    stopped.save()
    folder = StudyFolder(tmp_path / "parts")
    assert read_epochs(folder.epochs("0")) == [first.epoch]
    resumed = worker_of(digits, tmp_path / "parts", recipe=recipe)
    rest = [resumed.step() for _ in range(2)]
    assert [epoch_of(report) for report in rest] == [2, 3]
    assert [timeless(report) for report in rest] == [timeless(report) for report in expected[1:]]
    epochs = read_epochs(folder.epochs("0"))
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    outcome = rest[-1].outcome
    assert outcome is not None
    assert outcome.seconds == pytest.approx(sum(epoch.seconds for epoch in epochs))


def test_a_training_that_fails_right_after_it_went_on_has_the_epochs_of_its_checkpoint(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = worker_of(digits, tmp_path, recipe={"epochs": 3})
    for _ in range(2):
        stopped.step()
    stopped.save()

    def no_memory(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("40 GiB")

    resumed = worker_of(digits, tmp_path, recipe={"epochs": 3})
    monkeypatch.setattr("cbam_search.training.loop.Training._train_epoch", no_memory)
    outcome = end_of(resumed)
    assert (outcome.state, outcome.epochs) == (TrialState.INFEASIBLE, 2)
    assert outcome.seconds > 0


def test_a_checkpoint_of_another_training_fails_the_evaluation_and_is_no_problem_of_the_driver(
    digits: ImageData, tmp_path: Path
) -> None:
    other = worker_of(digits, tmp_path, task_of(seed=1), recipe={"epochs": 3})
    other.step()
    other.save()
    outcome = end_of(worker_of(digits, tmp_path, recipe={"epochs": 3}))
    assert outcome.state is TrialState.FAILED
    assert "belongs to another training; different: seed" in (outcome.reason or "")


def test_a_driver_whose_folder_cannot_be_looked_into_fails_no_evaluation(digits: ImageData, tmp_path: Path) -> None:
    """A network file system may be away for a moment, before the first call or between two."""
    problems: list[Exception] = []

    def check() -> None:
        if problems:
            raise problems[0]

    worker = Worker(job_of(recipe={"epochs": 3}), digits, Inbox(StudyFolder(tmp_path), check))
    for steps in (0, 1):
        problems.clear()
        worker.begin(task_of(f"{steps}"))
        for _ in range(steps):
            assert not worker.step().ended
        problems.append(RecordsError("cannot look into it: Stale file handle"))
        report = worker.step()
        assert (report.problem, report.outcome) == ("cannot look into it: Stale file handle", None)


def test_a_checkpoint_is_handed_over_once_its_epoch_is_reported_and_not_too_often(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"epochs": 4}
    rarely = worker_of(digits, tmp_path / "rarely", recipe=recipe)
    for _ in range(3):
        rarely.step()
    assert not StudyFolder(tmp_path / "rarely").checkpoint("0").exists(), "three quick epochs are done within 30 seconds"

    monkeypatch.setattr(worker_module, "CHECKPOINT_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(worker_module, "TIME_FOR_CHECKPOINTS", float("inf"))
    often, folder = worker_of(digits, tmp_path / "often", recipe=recipe), StudyFolder(tmp_path / "often")
    often.step()
    assert not folder.checkpoint("0").exists(), "whoever asked has had no chance to record epoch 1 yet"
    often.step()
    assert [epoch.epoch for epoch in read_epochs(folder.epochs("0"))] == [1]
    assert epoch_of(worker_of(digits, tmp_path / "often", recipe=recipe).step()) == 2

    monkeypatch.setattr(worker_module, "TIME_FOR_CHECKPOINTS", 1e-9)
    costly = worker_of(digits, tmp_path / "costly", recipe=recipe)
    for _ in range(2):
        costly.step()
    first = StudyFolder(tmp_path / "costly").checkpoint("0").read_bytes()
    costly.step()
    assert StudyFolder(tmp_path / "costly").checkpoint("0").read_bytes() == first, "it took too long to be done again so soon"


def test_what_was_finished_is_not_trained_again(digits: ImageData, tmp_path: Path) -> None:
    recipe = {"epochs": 1}
    outcome = worker_of(digits, tmp_path, recipe=recipe).step().outcome
    again = worker_of(digits, tmp_path, recipe=recipe).step()
    assert again.outcome == outcome
    assert again.epoch is None


def test_a_worker_that_was_taken_for_dead_changes_nothing(digits: ImageData, tmp_path: Path) -> None:
    """Another one goes on with its evaluation; both hand over to the same inbox."""
    inbox = Inbox(StudyFolder(tmp_path))
    job = job_of(recipe={"epochs": 2})
    slow, other = Worker(job, digits, inbox), Worker(job, digits, inbox)
    for worker in (slow, other):
        worker.begin(task_of())
        worker.step()
    assert end_of(slow).state is TrialState.FAILED
    assert not StudyFolder(tmp_path).result("0").exists()
    assert end_of(other).state is TrialState.COMPLETE


def test_a_disk_that_is_full_is_the_drivers_problem_and_no_end(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(digits, tmp_path, recipe={"epochs": 1})

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cbam_search.records.inbox.write_result", full)
        report = worker.step()
    assert (report.outcome, report.ended) == (None, True)
    assert report.problem == "the study's folder cannot be read or written: No space left on device"
    assert end_of(worker_of(digits, tmp_path, recipe={"epochs": 1})).state is TrialState.COMPLETE


def test_reports_and_tasks_travel_as_json(digits: ImageData, tmp_path: Path) -> None:
    worker = worker_of(digits, tmp_path)
    for report in (worker.step(), worker.step(), WorkerReport(problem="full"), WorkerReport()):
        assert REPORT.validate_json(REPORT.dump_json(report)) == report
    assert TASK.validate_json(TASK.dump_json(task_of())) == task_of()


def test_the_test_split_is_measured_where_a_table_asks_for_it(digits: ImageData) -> None:
    worker = Worker(job_of(recipe={"epochs": 1}), digits, NoInbox(), test=digits.train)
    worker.begin(task_of())
    outcome = end_of(worker)
    assert outcome.metrics[TEST_ACCURACY].n == len(digits.train)
    assert outcome.metrics["accuracy"].n == len(digits.validation)


def test_data_in_read_only_memory_is_trained_on(digits: ImageData, tmp_path: Path) -> None:
    """Ray's object store hands out read-only arrays."""
    for array in (digits.train.images, digits.train.labels, digits.validation.images):
        array.flags.writeable = False
    assert epoch_of(worker_of(digits, tmp_path).step()) == 1
    assert isinstance(digits.train.images, np.ndarray)


def test_workers_import_neither_mlflow_nor_optuna() -> None:
    code = (
        "import sys, cbam_search.running.executors.tune_trainable, cbam_search.records.inbox; "
        "print([m for m in ('mlflow', 'optuna', 'sqlalchemy') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_threads_are_those_of_the_trial(digits: ImageData, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    worker_of(digits, tmp_path)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_predictions_are_kept_where_they_are_asked_for(digits: ImageData, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    last_of(worker_of(digits, tmp_path, recipe={"epochs": 1}))
    assert not folder.predictions("0").exists()
    last = last_of(worker_of(digits, tmp_path, task_of("another"), keep_predictions=True, recipe={"epochs": 1}))
    predicted = load_predictions(folder.predictions("another"))
    assert predicted.shape == digits.validation.labels.shape
    assert float(np.mean(predicted == digits.validation.labels)) == pytest.approx(timeless(last)["accuracy"])


def test_metrics_of_a_complete_training_carry_their_errors(digits: ImageData, tmp_path: Path) -> None:
    outcome = end_of(worker_of(digits, tmp_path, recipe={"epochs": 1}))
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
    worker = worker_of(digits, tmp_path / "damaged")
    fresh = worker_of(digits, tmp_path / "fresh")
    assert [timeless(worker.step()) for _ in range(2)] == [timeless(fresh.step()) for _ in range(2)]
    assert folder.result("0").with_name("result.json.damaged").exists()
    assert folder.checkpoint("0").with_name("checkpoint.safetensors.damaged").exists()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DeviceLock:
    """The lock of the CPU, of which workers say soon that they wait for it."""
    monkeypatch.setattr(meter_module, "WAIT_SECONDS", 0.05)
    monkeypatch.setenv(LOCKS_VARIABLE, str(tmp_path / "locks"))
    return DeviceLock("cpu")


def test_a_wait_for_the_device_is_reported_and_ends(digits: ImageData, tmp_path: Path, device: DeviceLock) -> None:
    worker = worker_of(digits, tmp_path)
    with device.exclusive():
        waits = worker.step()
        assert (waits.ended, waits.epoch, waits.waits) == (False, None, device.for_training().waits_for)
        assert worker.step() == waits
    assert epoch_of(worker.step()) == 1
    with device.exclusive():
        assert worker.step().waits
        worker.begin(task_of("1"))  # as after a stop
    assert epoch_of(worker.step()) == 1


def test_a_driver_that_stops_gets_a_checkpoint_of_a_training_that_waits(
    digits: ImageData, tmp_path: Path, device: DeviceLock
) -> None:
    inbox = Inbox(StudyFolder(tmp_path))
    worker = Worker(job_of(recipe={"epochs": 3}), digits, inbox)
    worker.begin(task_of())
    worker.step()
    with device.exclusive():
        inbox.want_checkpoints()
        assert worker.step().waits
    assert [epoch.epoch for epoch in read_epochs(StudyFolder(tmp_path).epochs("0"))] == [1]


def test_a_lock_that_cannot_be_had_is_a_problem_of_the_study(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(LOCKS_VARIABLE, str(tmp_path / "file"))
    report = worker_of(digits, tmp_path).step()
    assert report.outcome is None
    assert report.problem is not None
    assert LOCKS_VARIABLE in report.problem
