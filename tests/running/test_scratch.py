"""Temporary folders: gone at the end, and at the next start where their process was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cbam_search.running.scratch import file_in_memory, scratch_folder


def test_it_is_gone_at_the_end_however_that_comes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder("x", tmp_path) as folder:
        (folder / "file").write_text("content")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_those_of_processes_that_were_killed_go_too(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from cbam_search.running.scratch import scratch_folder
with scratch_folder(sys.argv[2], Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for purpose in ("x", "y"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path), purpose], check=False)
    with scratch_folder("x", tmp_path) as mine, scratch_folder("x", tmp_path) as another:
        left = [path.name for path in tmp_path.iterdir() if path not in (mine, another)]
    assert len(left) == 1
    assert left[0].startswith("cbam-search-y-")


def test_a_file_in_memory_has_no_name(tmp_path: Path) -> None:
    with file_in_memory() as file:
        file.write(b"text")
        file.seek(0)
        assert file.read() == b"text"
