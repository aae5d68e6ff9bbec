"""Ends that come at the wrong moment: exit codes say them, and neither processes nor temporary folders stay behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import wait_until

from cbam_search.records.events import EpochFinished, StudyClosed
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"),
]
MARK = "CBAM_TEST_MARK"
GONE_WITHIN_SECONDS = 60.0
YAML = """\
name: ends
dataset: {source: digits, limit: 600}
backbone: {family: cifar_resnet, depth: 8, width: [0.25]}
attention: {kind: [none, se, cbam]}
training: {epochs: 30}
search: {trials: 6, sampler: random, baselines: [none]}
resources: {max_concurrent: 1}
tracking: {mlflow: false}
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `cbam-search` in a folder with a YAML, with these environment variables; what it leaves is killed at the end."""
    (tmp_path / "space.yaml").write_text(YAML)
    away = ("CBAM_SEARCH_STUDIES", "RAY_ADDRESS")
    environment = {name: value for name, value in os.environ.items() if name not in away} | {MARK: str(tmp_path)}

    def begin(*words: str, **variables: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("cbam-search")), *words]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    yield begin
    for process in marked(tmp_path):
        os.kill(process, signal.SIGKILL)


def marked(folder: Path) -> list[int]:
    """Processes that were started for this test, by whomever."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={folder}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def check_nothing_is_left(folder: Path, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: not marked(folder), GONE_WITHIN_SECONDS)
    assert list(Path(tempfile.gettempdir()).glob(f"cbam-search-*-{process.pid}-*")) == []


def closed(folder: Path) -> StudyClosed | None:
    events = [event for event, _ in read_events(StudyFolder(folder / "studies" / "ends").ledger)]
    return next((event for event in reversed(events) if isinstance(event, StudyClosed)), None)


def has_trained(folder: Path) -> bool:
    """Whether an epoch is recorded."""
    ledger = StudyFolder(folder / "studies" / "ends").ledger
    return any(isinstance(event, EpochFinished) for event, _ in read_events(ledger))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_ray_starts(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start("launch", "space.yaml")
    wait_until(lambda: len(marked(tmp_path)) > 1 or process.poll() is not None)
    process.send_signal(number)
    process.send_signal(signal.SIGTERM)  # as an impatient batch system does
    _, err = process.communicate(timeout=120)
    assert process.returncode in (128 + number, 128 + signal.SIGTERM)
    assert err == ""
    check_nothing_is_left(tmp_path, process)


def test_a_signal_to_all_processes_of_a_job_stops_the_study(start: Start, tmp_path: Path) -> None:
    """As batch systems and services send it, to Ray's processes too."""
    process = start("launch", "space.yaml")
    wait_until(lambda: has_trained(tmp_path) or process.poll() is not None)
    for each in sorted(marked(tmp_path), reverse=True):
        os.kill(each, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert err == "stopping after the epochs under way (SIGTERM)\n"
    end = closed(tmp_path)
    assert end is not None
    assert (end.reason, end.message) == ("interrupted", "stopped by SIGTERM")
    assert list((tmp_path / "studies" / "ends" / "evaluations").glob("*/checkpoint.safetensors"))
    check_nothing_is_left(tmp_path, process)


def test_a_reader_who_leaves_stops_the_study(start: Start, tmp_path: Path) -> None:
    process = start("launch", "space.yaml")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=120) == 141
    assert "nobody reads" in err
    assert "cbam-search resume ends" in err
    assert "Traceback" not in err
    end = closed(tmp_path)
    assert end is not None
    assert (end.reason, end.message) == ("interrupted", "stopped by a closed output")
    check_nothing_is_left(tmp_path, process)


def test_nothing_of_ray_outlives_a_driver_that_was_killed(start: Start, tmp_path: Path) -> None:
    process = start("launch", "space.yaml")
    assert process.stdout is not None
    wait_until(lambda: (tmp_path / "studies" / "ends" / "ledger.jsonl").exists())
    assert len(marked(tmp_path)) > 1
    process.kill()
    process.communicate()
    wait_until(lambda: not marked(tmp_path), GONE_WITHIN_SECONDS)


def test_a_folder_with_a_long_path_for_ray(start: Start, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    quick = YAML.replace("epochs: 30", "epochs: 1").replace("trials: 6", "trials: 2")
    (tmp_path / "space.yaml").write_text(quick)
    process = start("launch", "space.yaml", TMPDIR=str(long))
    _, err = process.communicate()
    assert process.returncode == 0, err
    check_nothing_is_left(tmp_path, process)
    # The files that say which device is in use stay, for all studies of this machine.
    left = {path.name for path in long.iterdir() if path.name.startswith(("ray", "cbam-search"))}
    assert left <= {"cbam-search-locks"}
