"""Where caches lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbam_search.cache_folder import cache_folder
from cbam_search.errors import UserError


def test_in_the_users_cache_or_where_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder("latency") == tmp_path / ".cache" / "cbam-search" / "latency"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder("latency") == tmp_path / ".cache" / "cbam-search" / "latency"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder("latency") == tmp_path / "caches" / "cbam-search" / "latency"


def test_a_relative_path_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert cache_folder("latency") == tmp_path / ".cache" / "cbam-search" / "latency"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    with pytest.raises(UserError, match="Set HOME or XDG_CACHE_HOME"):
        cache_folder("latency")
