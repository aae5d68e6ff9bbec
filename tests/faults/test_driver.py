"""Real faults on real studies: signals, a killed driver, a killed worker. Nothing is lost, nothing is trained twice."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
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


def launch(folder: Path, before: tuple[str, ...] = (), yaml: str = YAML) -> subprocess.Popen[str]:
    """before: words before the command, such as `nohup`."""
    (folder / "space.yaml").write_text(yaml)
    environment = {name: value for name, value in os.environ.items() if name not in ("CBAM_SEARCH_STUDIES", "RAY_ADDRESS")}
    return subprocess.Popen(
        [*before, Path(sys.executable).with_name("cbam-search"), "launch", "space.yaml"],
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


def repeated_epochs(folder: Path) -> int:
    epochs = Counter((event.trial, event.epoch) for event in events_of(folder) if isinstance(event, EpochFinished))
    return sum(count - 1 for count in epochs.values())


def check_stopped_cleanly(folder: Path, output: str, word: str) -> set[int]:
    """The study is closed, and each training that was cut off has its checkpoint; returns the trials that had finished."""
    assert "cbam-search resume faults" in output
    assert "Traceback" not in output
    closed = events_of(folder)[-1]
    assert isinstance(closed, StudyClosed)
    assert (closed.reason, closed.message) == ("interrupted", f"stopped by {word}")
    study = read_study(StudyFolder(folder / "studies" / "faults"))
    begun = {event.trial for event in events_of(folder) if isinstance(event, EpochFinished)}
    cut_off = [study.trials[number] for number in begun if study.trials[number].state is TrialState.RUNNING]
    assert cut_off
    assert all(study.folder.checkpoint(trial.evaluation).is_file() for trial in cut_off)
    return finished_in(folder)


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_then_resume_goes_on_from_the_checkpoint(
    tmp_path: Path, command_line: CommandLine, number: signal.Signals, word: str
) -> None:
    process = launch(tmp_path)
    wait_for(tmp_path, process, finished_and_under_way)
    process.send_signal(number)
    output = process.communicate(timeout=90)[0]
    assert process.returncode == 128 + number, output
    before = check_stopped_cleanly(tmp_path, output, word)
    resumed = command_line("resume", "faults", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    study = check_complete(tmp_path, before)
    again = [trial for trial in study.trials.values() if trial.attempts > 1]
    assert again
    assert repeated_epochs(tmp_path) <= len(again), "a trial that was stopped cleanly was trained anew"


def test_stopped_from_a_second_terminal_after_a_look_at_it(tmp_path: Path, command_line: CommandLine) -> None:
    process = launch(tmp_path, ("nohup",))
    wait_for(tmp_path, process, finished_and_under_way)
    process.send_signal(signal.SIGHUP)  # the first terminal is closed; nohup has it ignored
    running = command_line("status", "faults", cwd=tmp_path)
    assert running.returncode == 3, running.stdout + running.stderr
    assert f"process {process.pid}" in running.stdout
    assert "epoch" in running.stdout
    log = command_line("logs", "faults", "--trial", "0", cwd=tmp_path)
    assert log.returncode == 0
    assert f"epoch {EPOCHS}" in log.stdout
    stopped = command_line("stop", "faults", cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    check_stopped_cleanly(tmp_path, output, "cbam-search stop")
    assert command_line("status", "faults", cwd=tmp_path).returncode == 4
    again = command_line("stop", "faults", cwd=tmp_path)
    assert again.returncode == 0
    assert "nobody drives study faults" in again.stdout


def test_a_terminal_that_is_closed_ends_a_study_cleanly(tmp_path: Path) -> None:
    """Its processes lose the terminal that they write to, and Ray's get the same signal."""
    (tmp_path / "space.yaml").write_text(YAML)
    environment = {name: value for name, value in os.environ.items() if name not in ("CBAM_SEARCH_STUDIES", "RAY_ADDRESS")}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        command = str(Path(sys.executable).with_name("cbam-search"))
        uri = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "TERM": "xterm"}
        os.execve(command, [command, "launch", "space.yaml"], environment | uri)
    threading.Thread(target=_read_all, args=(terminal,), daemon=True).start()
    deadline = time.monotonic() + 120
    while not finished_and_under_way(events_of(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(pid, signal.SIGHUP)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    check_stopped_cleanly(tmp_path, "cbam-search resume faults", "SIGHUP")


def _read_all(terminal: int) -> None:
    """As a terminal does, until it is closed."""
    with suppress(OSError):
        while os.read(terminal, 65536):
            continue


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
