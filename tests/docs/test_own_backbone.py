"""The example of docs/own-backbone.md, typed as its page shows it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_the_example_of_the_page(blocks: Callable[[str, str], list[str]], command_line: CommandLine, tmp_path: Path) -> None:
    (code,), (space,), (commands,) = (blocks("own-backbone.md", language) for language in ("python", "yaml", "shell"))
    (tmp_path / "net.py").write_text(code, encoding="utf-8")
    (tmp_path / "space.yaml").write_text(space, encoding="utf-8")
    for command in commands.splitlines():
        program, *arguments = shlex.split(command)
        assert program == "cbam-search"
        done = command_line(*arguments, cwd=tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "best" / "own_backbone.py").read_text(encoding="utf-8") == code
