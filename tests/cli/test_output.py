"""Standard output that fails: a reader who is gone, a full disk, a stream that was never open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from cbam_search.cli.output import SteadyOutput

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
