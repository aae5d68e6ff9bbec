"""The report of an error that nobody foresaw."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cbam_search.cli.last_resort import told


def _raised() -> RuntimeError:
    try:
        raise RuntimeError("no answer from postgresql://me:hunter2@host/db with 0123456789")
    except RuntimeError as error:
        return error


def test_it_holds_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SOME_TOKEN", "0123456789")
    sentence = told(_raised())
    (file,) = tmp_path.iterdir()
    assert str(file) in sentence
    for text in (sentence, file.read_text()):
        assert "hunter2" not in text
        assert "0123456789" not in text
        assert "no answer from postgresql://me:***@host/db" in text


def test_it_lies_in_the_cache_where_there_is_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentence = told(_raised())
    (file,) = (tmp_path / "cbam-search" / "errors").iterdir()
    assert str(file) in sentence


def test_without_a_place_for_a_file_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    sentence = told(_raised())
    assert "Traceback (most recent call last)" in sentence
    assert "hunter2" not in sentence
