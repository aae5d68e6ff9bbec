"""What Ray needs of a machine before it is started there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cbam_search.errors import ResourceError
from cbam_search.running import ray_start
from cbam_search.running.ray_token import token_without_a_home


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)


def token_meanwhile() -> str | None:
    with token_without_a_home():
        found = os.environ.get("RAY_AUTH_TOKEN")
    assert os.environ.get("RAY_AUTH_TOKEN") is None
    return found


@pytest.mark.usefixtures("no_token")
def test_a_home_that_takes_a_token_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token_meanwhile() is None


@pytest.mark.usefixtures("no_token")
def test_a_home_that_takes_none_costs_no_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    first, second = token_meanwhile(), token_meanwhile()
    assert first
    assert second
    assert first != second
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert token_meanwhile() is None


@pytest.mark.usefixtures("no_token")
@pytest.mark.slow
def test_ray_starts_where_there_is_no_home(tmp_path: Path) -> None:
    code = "from cbam_search.running.ray_start import ray_started\nwith ray_started(verbose=False): print('up')"
    environment = os.environ | {"HOME": "/proc", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=180
    )
    assert (done.stdout, done.returncode) == ("up\n", 0), done.stderr


def test_a_full_disk_is_told_before_ray_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_start, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(ResourceError, match=r"the disk of Ray's folder, .*/not-yet, is full: .*RAY_TMPDIR"):
        ray_start._require_room(tmp_path / "not-yet")
