"""The kind of docs/adding-a-kind.md keeps the contract of every kind, in a process of its own where it is registered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SWEEPS = ("tests/attention/test_kind_contract.py", "tests/test_registry.py", "tests/cost/test_cost.py")


@pytest.mark.slow
def test_the_kind_of_the_page(blocks: Callable[[str, str], list[str]], root: Path, tmp_path: Path) -> None:
    (code,) = blocks("adding-a-kind.md", "python")
    (tmp_path / "page.py").write_text(code, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "page", "-p", "no:cacheprovider", "-k", "mean_gate", *SWEEPS]
    finished = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "resnet18+mean_gate" in finished.stdout
    passed = re.search(r"(\d+) passed", finished.stdout)
    assert passed is not None
    assert int(passed[1]) > 25
