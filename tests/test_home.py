"""Packages that cannot do without a home folder find one."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from cbam_search.home import has_home, home_given


def test_a_home_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with home_given():
        assert os.environ["HOME"] == str(tmp_path)


def test_a_user_who_is_a_number_gets_one_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME")
    assert not has_home()
    with home_given():
        assert Path.home() == Path("/")
        with home_given():
            assert has_home()
    assert not has_home()
