"""Real faults on real studies: Ctrl-C, a killed driver, a killed worker. Nothing is lost, nothing is trained twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import descendants_named

from cbam_search.records.events import EpochFinished, Event, StudyClosed, TrialFinished, TrialStarted
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.records.trials import TrialState
from cbam_search.study.study import Study, read_study

pytestmark = pytest.mark.slow
CommandLine = Callable[..., subprocess.CompletedProcess[str]]
TRIALS, EPOCHS = 6, 40

YAML = f"""\
name: faults
dataset: {{source: digits, limit: 600}}
backbone: {{family: cifar_resnet, depth: 8, width: [0.25, 0.5]}}
training: {{epochs: {EPOCHS}, lr: 0.2}}
search: {{trials: {TRIALS}, published_backbones: 1}}
"""


def launch(folder: Path) -> subprocess.Popen[str]:
    (folder / "space.yaml").write_text(YAML)
    environment = {name: value for name, value in os.environ.items() if name not in ("CBAM_SEARCH_STUDIES", "RAY_ADDRESS")}
    return subprocess.Popen(
        [Path(sys.executable).with_name("cbam-search"), "launch", "space.yaml"],
        cwd=folder,
        env=environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def events_of(folder: Path) -> list[Event]:
    return [event for event, _ in read_events(folder / "studies" / "faults" / "ledger.jsonl")]


def wait_for(folder: Path, process: subprocess.Popen[str], condition: Callable[[list[Event]], bool]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if condition(events_of(folder)):
            return
        if process.poll() is not None:
            pytest.fail(f"the study ended too early:\n{process.communicate()[0]}")
        time.sleep(0.1)
    process.kill()
    pytest.fail("the study did not get there in two minutes")


def finished_and_under_way(events: list[Event]) -> bool:
    """One trial finished, and another some epochs into its training."""
    finished = {event.trial for event in events if isinstance(event, TrialFinished)}
    epochs = Counter(event.trial for event in events if isinstance(event, EpochFinished) if event.trial not in finished)
    return bool(finished) and any(count >= 5 for count in epochs.values())


def check_complete(folder: Path, finished_before: set[int]) -> Study:
    study = read_study(StudyFolder(folder / "studies" / "faults"))
    trained = [trial for trial in study.trials.values() if trial.was_trained]
    assert len(trained) == TRIALS
    assert {trial.state for trial in trained} == {TrialState.COMPLETE}
    events = events_of(folder)
    assert set(Counter(event.trial for event in events if isinstance(event, TrialFinished)).values()) == {1}
    starts = Counter(event.trial for event in events if isinstance(event, TrialStarted))
    assert all(starts[number] == 1 for number in finished_before)
    for trial in trained:
        epochs = [event.epoch for event in events if isinstance(event, EpochFinished) and event.trial == trial.number]
        assert set(epochs) == set(range(1, EPOCHS + 1))
    return study


def finished_in(folder: Path) -> set[int]:
    return {event.trial for event in events_of(folder) if isinstance(event, TrialFinished)}


def test_ctrl_c_then_resume_goes_on_from_the_checkpoint(tmp_path: Path, command_line: CommandLine) -> None:
    process = launch(tmp_path)
    wait_for(tmp_path, process, finished_and_under_way)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=90)[0]
    assert process.returncode == 130, output
    assert "cbam-search resume faults" in output
    assert "Traceback" not in output
    closed = events_of(tmp_path)[-1]
    assert isinstance(closed, StudyClosed)
    assert closed.reason == "interrupted"
    before = finished_in(tmp_path)
    resumed = command_line("resume", "faults", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    study = check_complete(tmp_path, before)
    again = [trial for trial in study.trials.values() if trial.attempts > 1]
    assert again
    epochs = Counter((event.trial, event.epoch) for event in events_of(tmp_path) if isinstance(event, EpochFinished))
    repeated = sum(count - 1 for count in epochs.values())
    assert repeated <= len(again), "a trial that was stopped cleanly was trained anew"


def test_a_killed_driver_loses_nothing(tmp_path: Path, command_line: CommandLine) -> None:
    process = launch(tmp_path)
    wait_for(tmp_path, process, finished_and_under_way)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    before = finished_in(tmp_path)
    resumed = command_line("resume", "latest", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert f"{len(before)} finished before" in resumed.stdout
    check_complete(tmp_path, before)


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    process = launch(tmp_path)
    wait_for(tmp_path, process, finished_and_under_way)
    workers = descendants_named(process.pid, "ray::", "Trainable")
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    output = process.communicate(timeout=180)[0]
    assert process.returncode == 0, output
    study = check_complete(tmp_path, set())
    assert [trial.attempts for trial in study.trials.values() if trial.attempts > 1] == [2]
