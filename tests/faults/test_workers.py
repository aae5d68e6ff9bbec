"""Where workers come from and how they end: the folder of a launch, and Ray's own process killed under a study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import descendants_named, wait_until

from cbam_search.records.events import EpochFinished, StudyClosed
from cbam_search.records.ledger import read_events

pytestmark = pytest.mark.slow

YAML = """\
name: workers
dataset: {source: digits, limit: 200}
backbone: {family: cifar_resnet, depth: 8, width: [0.25]}
attention: {kind: [none, se]}
training: {epochs: 2, batch_size: 64}
search: {trials: 2, sampler: random, baselines: [none]}
resources: {max_concurrent: 1}
tracking: {mlflow: false}
"""
NAMES = [
    "calendar",
    "cbam_search",
    "json",
    "numpy",
    "profile",
    "queue",
    "random",
    "ray",
    "select",
    "sitecustomize",
    "statistics",
    "torch",
    "types",
    "typing",
    "usercustomize",
]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("CBAM_SEARCH_STUDIES", "RAY_ADDRESS")}


BEFORE_US = ("collections", "functools", "types", "typing", "cbam_search")
"""What `python -m` imports, or looks for in the current folder, before a line of ours runs: `python -P -m` does not."""
COMMANDS = [
    pytest.param([str(Path(sys.executable).with_name("cbam-search"))], (), id="command"),
    pytest.param([sys.executable, "-m", "cbam_search"], BEFORE_US, id="module"),
]


@pytest.mark.parametrize(("command", "but"), COMMANDS)
def test_files_where_a_study_is_launched_stand_in_for_nothing(tmp_path: Path, command: list[str], but: tuple[str, ...]) -> None:
    (tmp_path / "space.yaml").write_text(YAML)
    for name in set(NAMES) - set(but):
        (tmp_path / f"{name}.py").write_text("raise ImportError('taken for another module')\n")
    for name in ("data", "scipy", "pandas"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('taken for another module')\n")
    asked = [*command, "launch", "space.yaml"]
    done = subprocess.run(asked, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 complete" in done.stdout


def test_the_folder_of_a_script_is_not_on_the_path_of_workers(tmp_path: Path) -> None:
    """The script itself has imported what it needs before the files are there."""
    (tmp_path / "space.yaml").write_text(YAML)
    (tmp_path / "main.py").write_text(
        "import calendar, profile, queue, statistics, pathlib, cbam_search\n"
        "for name in ('calendar', 'profile', 'queue', 'statistics'):\n"
        "    pathlib.Path(f'{name}.py').write_text('raise ImportError()')\n"
        "print({str(trial.state) for trial in cbam_search.launch('space.yaml').trials.values()})\n"
    )
    asked = [sys.executable, "main.py"]
    done = subprocess.run(asked, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout == "{'complete'}\n", done.stdout + done.stderr


def test_a_study_whose_ray_is_killed_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(YAML.replace("epochs: 2", "epochs: 4000"))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("cbam-search"), "launch", "space.yaml"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ledger = tmp_path / "studies" / "workers" / "ledger.jsonl"
    wait_until(lambda: process.poll() is not None or any(isinstance(event, EpochFinished) for event, _ in read_events(ledger)))
    assert process.poll() is None, process.communicate()
    [raylet] = descendants_named(process.pid, "raylet/raylet")
    os.kill(raylet, signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: Ray's process on this machine (the raylet) ended" in errors
    assert "cbam-search resume workers" in output
    last = [event for event, _ in read_events(ledger)][-1]
    assert isinstance(last, StudyClosed)
    assert last.reason == "failed"
