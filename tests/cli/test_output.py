"""Standard output that fails: a reader who is gone, a full disk, a stream that was never open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from cbam_search.cli.output import SteadyOutput, cannot_be_written

FULL = Path("/dev/full")


@pytest.fixture
def deserted() -> Iterator[TextIO]:
    """A pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    yield stream
    with suppress(OSError):
        stream.close()


def test_a_reader_who_is_gone_is_noticed_and_what_follows_goes_nowhere(deserted: TextIO) -> None:
    output = SteadyOutput(deserted)
    assert not output.closed_by_reader
    for _ in range(2):
        output.write("a line\n")
        output.flush()
        assert output.closed_by_reader


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_full_disk_is_said_once_and_is_no_reader(capsys: pytest.CaptureFixture[str]) -> None:
    with FULL.open("w") as stream:
        output = SteadyOutput(stream)
        for _ in range(2):
            output.write("a line\n")
            output.flush()
        assert not output.closed_by_reader
    assert capsys.readouterr().err == "nothing more is printed, and the study goes on: No space left on device\n"


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_it_is_found_out_whether_the_output_is_at_fault(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        stream.write("a line\n")
        assert not cannot_be_written(stream)
    stream = FULL.open("w")
    stream.write("a line\n")
    assert cannot_be_written(stream)
    with suppress(OSError):
        stream.close()


def test_streams_that_were_closed_are_open_and_hold_no_others_place(tmp_path: Path) -> None:
    code = """
import os, sys
for descriptor in range(3):
    os.close(descriptor)
sys.stdin = sys.stdout = sys.stderr = None
from cbam_search.cli.output import open_missing_streams
open_missing_streams()
print("to nobody")
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(file, f"{file > 2} {sys.stdin.read()!r}".encode())
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "said")], check=True)
    assert (tmp_path / "said").read_text() == "True ''"
