"""A tabulation through the command line: killed in the middle, gone on with, misused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cbam_search.records.table import read_table

CommandLine = Callable[..., subprocess.CompletedProcess[str]]

YAML = """\
name: small
dataset: {source: digits, limit: 300}
backbone: {family: cifar_resnet, depth: 8, width: [0.125, 0.25]}
attention: {per: network, kind: [none, se]}
training: {epochs: 8, lr: 0.2, warmup_epochs: 0}
search: {baselines: [none]}
"""
SEEDS = 12
"""Of 4 architectures: 48 trainings, so that there is time to kill it between the first and the last."""
ARGUMENTS = ("tabulate", "space.yaml", "--seeds", str(SEEDS), "--output", "small.parquet", "--workers", "2")


def start(folder: Path) -> subprocess.Popen[str]:
    (folder / "space.yaml").write_text(YAML)
    executable = Path(sys.executable).with_name("cbam-search")
    return subprocess.Popen(
        [executable, *ARGUMENTS],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where the tests run in the background, Ctrl-C is ignored, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def recorded(folder: Path) -> list[tuple[str, int]]:
    """Architecture and seed of each training in the journal, in order."""
    try:
        lines = (folder / "small.parquet.progress" / "trainings.jsonl").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    trainings = [json.loads(line).get("evaluation") for line in lines]
    return [(json.dumps(training["architecture"]), training["seed"]) for training in trainings if training]


def wait_for_trainings(folder: Path, process: subprocess.Popen[str], number: int) -> None:
    deadline = time.monotonic() + 240
    while len(recorded(folder)) < number:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it did not get there:\n{process.communicate()[0]}")
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_twice_and_gone_on_with_nothing_is_trained_twice(tmp_path: Path, command_line: CommandLine) -> None:
    finished: list[tuple[str, int]] = []
    for _ in range(2):
        process = start(tmp_path)
        wait_for_trainings(tmp_path, process, len(finished) + 5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert recorded(tmp_path)[: len(finished)] == finished
        finished = recorded(tmp_path)
    assert len(finished) < 4 * SEEDS
    assert not (tmp_path / "small.parquet").exists()
    whole = command_line(*ARGUMENTS, cwd=tmp_path)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert f"{len(finished)} finished before" in whole.stdout
    assert f"this time {4 * SEEDS - len(finished)} trainings" in whole.stdout
    table = read_table(tmp_path / "small.parquet")
    assert table.metadata.complete
    assert table.trained.shape == (4, SEEDS)
    assert table.trained.all()
    assert len(table.metadata.sessions) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.parquet", "space.yaml"]


@pytest.mark.slow
def test_ctrl_c_writes_what_there_is_and_exits_with_130(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for_trainings(tmp_path, process, 3)
    before = recorded(tmp_path)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "The same command goes on" in output
    table = read_table(tmp_path / "small.parquet")
    assert not table.metadata.complete
    assert table.trained.sum() >= len(before)
    assert max(Counter(recorded(tmp_path)).values()) == 1


@pytest.mark.slow
def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for_trainings(tmp_path, process, 3)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()
    workers = [pid for pid in children if b"pool_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(int(workers[0]), signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert read_table(tmp_path / "small.parquet").trained.all()


@pytest.mark.parametrize(
    ("yaml", "arguments", "words"),
    [
        ("depth: 56", ("--output", "a.parquet"), "--limit-architectures N trains a uniform random sample"),
        ("depth: 8", ("--output", "space.yaml/a.parquet"), "no table can be written to space.yaml/a.parquet"),
        ("depth: 8", ("--output", "space.yaml", "--seeds", "1"), "space.yaml is not a table"),
        ("depth: 8", ("--output", "."), ". is a folder"),
        ("depth: 8", (), "--output"),
        ("depth: 8", ("--output", "a.parquet", "--seeds", "0"), "--seeds"),
        ("depth: 9", ("--output", "a.parquet"), "space.yaml:3: backbone"),
    ],
)
def test_wrong_uses_exit_with_2_and_leave_nothing(
    tmp_path: Path, command_line: CommandLine, yaml: str, arguments: tuple[str, ...], words: str
) -> None:
    text = f"name: a\ndataset: {{source: digits}}\nbackbone: {{family: cifar_resnet, {yaml}}}\n"
    (tmp_path / "space.yaml").write_text(text)
    done = command_line("tabulate", "space.yaml", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("space.yaml", text)]
