"""Where caches lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbam_search.cache_folder import cache_folder


def test_in_the_users_cache_or_where_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder("latency") == tmp_path / ".cache" / "cbam-search" / "latency"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder("latency") == tmp_path / ".cache" / "cbam-search" / "latency"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder("latency") == tmp_path / "caches" / "cbam-search" / "latency"
