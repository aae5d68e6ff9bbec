"""What tests of several rooms share: one thread for torch, and one finished study, made through the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in the processes that tests start

CommandLine = Callable[..., subprocess.CompletedProcess[str]]

# Of the reader's own machine; a test must not depend on them, nor write where they point.
READERS_VARIABLES = ("CBAM_SEARCH_STUDIES", "MLFLOW_TRACKING_URI", "RAY_ADDRESS")

TINY_YAML = """\
name: tiny
dataset: {source: digits, limit: 600}
backbone: {family: cifar_resnet, depth: 8, width: 0.25}
training: {epochs: 1, lr: 0.2, warmup_epochs: 0}
search: {trials: 4, baselines: [none, se, cbam]}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu are skipped where there is none."""
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            for item in items:
                if item.get_closest_marker("gpu"):
                    item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """For networks this small, threads only wait for each other."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def command_line() -> CommandLine:
    """Runs the installed command in a process of its own: command_line("front", "tiny", cwd=folder)."""
    executable = Path(sys.executable).with_name("cbam-search")
    environment = {name: value for name, value in os.environ.items() if name not in READERS_VARIABLES}

    def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory, command_line: CommandLine) -> Path:
    """A folder with `tiny.yaml`, and what launching it there left: `studies/tiny/`, `mlflow.db` and `mlruns/`.

    Four trainings of one epoch, the first three of them published designs. Tests read it and leave it as it is.
    """
    folder = tmp_path_factory.mktemp("finished-study")
    (folder / "tiny.yaml").write_text(TINY_YAML, encoding="utf-8")
    launched = command_line("launch", "tiny.yaml", cwd=folder)
    assert launched.returncode == 0, launched.stdout + launched.stderr
    return folder
