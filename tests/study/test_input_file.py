"""Files and pipes that the user names."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from cbam_search.study import input_file
from cbam_search.study.input_file import folder_of, read_bytes


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert read_bytes(tmp_path / "file", 100) == b"content"
    assert read_bytes(tmp_path / "file", 3) == b"con"


def test_a_pipe_is_read_however_late_and_slow_its_writer_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        time.sleep(0.2)
        with (tmp_path / "pipe").open("wb", buffering=0) as file:
            file.write(b"some ")
            time.sleep(0.2)
            file.write(b"content")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert read_bytes(tmp_path / "pipe", 100) == b"some content"
    finally:
        writer.join()


def test_what_a_writer_left_in_a_pipe_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"content")
    os.close(writing)
    try:
        assert read_bytes(Path(f"/dev/fd/{reading}"), 100) == b"content"
    finally:
        os.close(reading)


def test_a_pipe_without_a_writer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_file, "PIPE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="nothing came through this pipe"):
        read_bytes(tmp_path / "pipe", 100)


def test_devices_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="a device, not a file"):
        read_bytes(Path("/dev/zero"), 100)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path, 100)


def test_paths_start_at_a_files_folder_and_for_a_pipe_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    os.mkfifo(tmp_path / "folder" / "pipe")
    monkeypatch.chdir(tmp_path)
    assert folder_of(Path("folder/file")) == tmp_path / "folder"
    assert folder_of(Path("folder/pipe")) == tmp_path
