"""The commands for a study that someone else drives, each in a process of its own, beside real drivers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import driver_process, write_lease
from permissions import read_only, unprivileged
from synthetic_study import SyntheticStudy, random_candidates, synthetic_study

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
PROPOSALS = random_candidates(24)


@pytest.fixture
def study(tmp_path: Path) -> SyntheticStudy:
    return synthetic_study(tmp_path / "studies")


def test_status_tells_the_state_by_its_exit_code(study: SyntheticStudy, tmp_path: Path, command_line: CommandLine) -> None:
    study.open()
    study.train(0, PROPOSALS[0], 0.95)
    with driver_process(study.folder):
        running = command_line("status", "digits", cwd=tmp_path)
    assert (running.returncode, running.stderr) == (3, "")
    assert running.stdout.startswith("study digits: running\n")
    killed = command_line("status", "latest", cwd=tmp_path)
    assert killed.returncode == 4
    assert "was killed" in killed.stdout
    study.close("failed")
    failed = command_line("status", "digits", "--json", cwd=tmp_path)
    assert (failed.returncode, json.loads(failed.stdout)["state"]) == (1, "failed")
    other = synthetic_study(tmp_path / "studies", "other")
    other.open()
    other.close()
    assert command_line("status", "studies/other", cwd=tmp_path).returncode == 0
    assert command_line("status", "none", cwd=tmp_path).returncode == 2


def test_status_of_all(study: SyntheticStudy, tmp_path: Path, command_line: CommandLine) -> None:
    study.open()
    every = command_line("status", cwd=tmp_path)
    assert (every.returncode, every.stderr) == (0, "")
    assert "digits  interrupted       0/24" in every.stdout
    assert [each["study"] for each in json.loads(command_line("status", "--json", cwd=tmp_path).stdout)] == ["digits"]
    nothing = command_line("status", cwd=study.folder.path)
    assert nothing.returncode == 0
    assert "there is no study in the folder studies" in nothing.stdout


def test_stop_ends_a_driver(study: SyntheticStudy, tmp_path: Path, command_line: CommandLine) -> None:
    study.open()
    with driver_process(study.folder) as process:
        stopped = command_line("stop", "digits", cwd=tmp_path)
        assert process.wait(10) == 0
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert "the epochs under way finish first" in stopped.stdout
    again = command_line("stop", cwd=tmp_path)
    assert again.returncode == 0
    assert "nobody drives study digits" in again.stdout


def test_stop_gives_up_in_time(study: SyntheticStudy, tmp_path: Path, command_line: CommandLine) -> None:
    study.open()
    write_lease(study.folder, heard_seconds_ago=0.0)
    stopped = command_line("stop", "digits", "--timeout", "0.5", cwd=tmp_path)
    assert stopped.returncode == 3
    assert "The request stands" in stopped.stdout


def test_ctrl_c_ends_the_wait_of_stop(study: SyntheticStudy, tmp_path: Path) -> None:
    study.open()
    write_lease(study.folder, heard_seconds_ago=0.0)
    command = [Path(sys.executable).with_name("cbam-search"), "stop", "digits"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "finish first" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "The request stands" in output
    assert "Traceback" not in errors


def test_a_study_that_cannot_be_written_cannot_be_stopped_but_looked_at(study: SyntheticStudy, tmp_path: Path) -> None:
    study.open()
    write_lease(study.folder, heard_seconds_ago=0.0)
    executable = Path(sys.executable).with_name("cbam-search")
    with read_only(study.folder.path):
        done = {
            name: subprocess.run(
                [*unprivileged(), executable, name, "digits"], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            for name in ("stop", "status", "logs")
        }
    assert (done["stop"].returncode, done["status"].returncode, done["logs"].returncode) == (2, 3, 0)
    assert done["stop"].stderr.startswith("error: the folder of study digits cannot be written")
    assert "Traceback" not in done["stop"].stderr


def test_logs_print_what_happened(study: SyntheticStudy, tmp_path: Path, command_line: CommandLine) -> None:
    study.open()
    study.train(0, PROPOSALS[0], 0.95)
    study.close()
    whole = command_line("logs", cwd=tmp_path)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert len(whole.stdout.splitlines()) == 5
    assert command_line("logs", "digits", "--follow", cwd=tmp_path).stdout == whole.stdout
    one = command_line("logs", "digits", "--trial", "0", cwd=tmp_path)
    assert one.stdout.count(" epoch ") == 8
    missing = command_line("logs", "digits", "--trial", "7", cwd=tmp_path)
    assert missing.returncode == 2
    assert missing.stderr == "error: study digits has no trial 7: its trials are numbered from 0 to 0\n"


def test_logs_are_followed_until_ctrl_c(study: SyntheticStudy, tmp_path: Path) -> None:
    study.open()
    command = [Path(sys.executable).with_name("cbam-search"), "logs", "--follow"]
    with driver_process(study.folder) as driver:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stderr is not None
        assert "opened" in process.stdout.readline()
        study.start(0, PROPOSALS[0])
        assert "trial 0 starts" in process.stdout.readline()
        driver.kill()
        driver.wait()
        assert "waiting for a resume" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")


WATCHING = [["status", "digits"], ["status"], ["stop", "digits"], ["logs", "digits"], ["logs", "--follow"]]


@pytest.mark.parametrize("arguments", WATCHING)
def test_watching_needs_neither_torch_nor_ray(study: SyntheticStudy, tmp_path: Path, arguments: list[str]) -> None:
    study.open()
    study.train(0, PROPOSALS[0], 0.95)
    study.close("interrupted")
    code = (
        "import sys; from cbam_search.cli import main\n"
        f"sys.argv = ['cbam-search', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = [m for m in ('torch', 'ray', 'optuna', 'mlflow', 'datasets', 'pandas', 'sklearn') if m in sys.modules]\n"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout
