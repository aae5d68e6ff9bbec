"""The way out of the command line: every end is an exit code and at most a sentence, whatever the streams and the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from permissions import read_only, unprivileged

from cbam_search import __version__

COMMAND = Path(sys.executable).with_name("cbam-search")


def shell(text: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run by bash, with $COMMAND as the command."""
    return subprocess.run(
        [*unprivileged(), "bash", "-c", text],
        cwd=cwd,
        env={**os.environ, **environment, "COMMAND": str(COMMAND)},
        capture_output=True,
        text=True,
        check=False,
    )


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_versions_of_a_bug_report(tmp_path: Path) -> None:
    done = shell("$COMMAND --version", tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"cbam-search {__version__}\nPython 3.")
    for package in ("torch", "ray", "optuna", "mlflow"):
        assert f"{package} {version(package)}" in done.stdout


def test_the_module_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cbam_search", "front", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Usage: cbam-search front" in done.stdout


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "2>/dev/full", "<&-", ">&- 2>&- <&-"])
def test_streams_that_are_closed_or_full_do_no_harm(tmp_path: Path, redirection: str) -> None:
    done = shell(f"$COMMAND schema {redirection}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_output_without_room_is_said(tmp_path: Path) -> None:
    done = shell("$COMMAND schema > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk, or what the output goes to, is full: No space left on device")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_is_gone_needs_no_word(tmp_path: Path) -> None:
    done = shell("set -o pipefail; $COMMAND schema | true", tmp_path)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"TERM": "dumb", "COLUMNS": "20", "NO_COLOR": "1"}])
def test_a_poor_terminal_takes_every_character(tmp_path: Path, environment: dict[str, str]) -> None:
    done = shell("$COMMAND front größe", tmp_path, **environment)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert ("gr\\xf6\\xdfe" if "PYTHONIOENCODING" in environment else "größe") in done.stderr


def test_a_folder_that_was_removed_is_said(tmp_path: Path) -> None:
    done = shell("mkdir gone; cd gone; rmdir ../gone; $COMMAND cost resnet18", tmp_path)
    assert done.returncode == 2
    assert "the folder that this command is typed in is gone" in done.stderr


RAISING = """
import sys
import cbam_search.cli.versions
from cbam_search.cli import main
class Raises:
    def find_spec(self, name, path=None, target=None):
        if name == "cbam_search.cli.commands":
            raise {error}
sys.meta_path.insert(0, Raises())
main()
"""


def test_ctrl_c_during_the_imports_ends_as_it_does_later(tmp_path: Path) -> None:
    done = python(RAISING.format(error="KeyboardInterrupt"), tmp_path)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("RuntimeError('odd')", "RuntimeError: odd. This is a fault of cbam-search or of the machine, not yours"),
        ("MemoryError()", "the memory of this machine is not enough"),
        ("RecursionError('maximum recursion depth exceeded')", "nested too deeply"),
        ("OSError('libcudart.so.12: cannot open shared object file')", "install cbam-search again"),
        ("ImportError('no torch')", "install cbam-search again"),
        ("PermissionError(13, 'Permission denied', '/some/file')", "Permission denied: /some/file"),
    ],
)
def test_an_error_that_nobody_foresaw_is_a_sentence_and_a_file_for_its_owner(tmp_path: Path, error: str, words: str) -> None:
    done = python(RAISING.format(error=error), tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    file = Path(done.stderr.rpartition("For a report of it: ")[2].strip())
    try:
        assert file.stat().st_mode & 0o777 == 0o600
        assert "Traceback (most recent call last)" in file.read_text()
    finally:
        file.unlink()


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = python(RAISING.format(error="OSError(28, 'No space left on device', '/some/file')"), tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "the disk is full: No space left on device: /some/file" in done.stderr


def test_json_is_not_mixed_with_errors(tmp_path: Path) -> None:
    for command in ("status nope --json", "front nope --json"):
        done = shell(f"$COMMAND {command}", tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "no study 'nope'" in done.stderr


@pytest.mark.slow
def test_a_study_that_may_not_be_written_is_shown_and_exported_and_not_resumed(finished_study: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_study / "studies", tmp_path / "studies")
    with read_only(tmp_path / "studies"):
        for command in ("front tiny --json", "status tiny --json", "logs tiny", "export tiny --output best"):
            done = shell(f"$COMMAND {command}", tmp_path)
            assert done.returncode == 0, done.stderr
        for command in ("resume tiny", "track tiny"):
            done = shell(f"$COMMAND {command}", tmp_path)
            assert done.returncode == 2
            assert "cannot be driven or sent to MLflow from here: Permission denied" in done.stderr
