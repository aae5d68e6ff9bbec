"""The commands for a study that someone else drives, each in a process of its own, beside real drivers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import driver_process
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


@pytest.mark.parametrize("arguments", [["status", "digits"], ["status"]])
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
