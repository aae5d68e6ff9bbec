"""Addresses where no Ray cluster is: each gets its sentence, with nothing on the terminal."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cbam_search.errors import NobodyListensError, ResourceError
from cbam_search.running import ray_contact
from cbam_search.running.ray_contact import require_answer
from cbam_search.running.ray_start import joined_address


@pytest.fixture
def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def another_program() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def refusal(address: str, capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(NobodyListensError) as caught:
        require_answer(None, address, address)
    assert capfd.readouterr() == ("", "")
    assert f"no Ray cluster answers at {address}" in str(caught.value)
    return str(caught.value)


def test_nothing_listens(free_port: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert "Connection refused" in refusal(f"127.0.0.1:{free_port}", capfd)


def test_a_name_that_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    refusal("no-such-host.invalid:6379", capfd)


def test_a_port_that_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    assert "Port out of range" in refusal("127.0.0.1:99999", capfd)


def test_another_program_listens(another_program: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert "another program" in refusal(another_program, capfd)


@pytest.mark.slow
def test_someone_listens_and_says_nothing(silent: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert "no answer within 5 s" in refusal(silent, capfd)


def refuse(monkeypatch: pytest.MonkeyPatch, code: str) -> str:
    """What is said where the process that asks does as `code` says."""
    monkeypatch.setattr(ray_contact, "_CHILD", code)
    with pytest.raises(ResourceError) as caught:
        require_answer(None, "head:6379", "head:6379")
    return str(caught.value)


def test_a_token_that_is_refused_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself asks again for a minute, and then kills its process."""
    line = "[2026-11-27 21:16:58,221 W 1 1] gcs_client.cc:210: Failed: Unauthenticated: InvalidAuthToken: missing or incorrect"
    code = f"import sys, time; print({line!r}, file=sys.stderr, flush=True); time.sleep(60)"
    said = refuse(monkeypatch, code)
    assert "does not accept this token: Failed: Unauthenticated" in said
    assert "RAY_AUTH_TOKEN" in said


def test_what_ray_finds_wrong_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.dumps({"connected": True, "problem": "Version mismatch: Ray 2.50 and Ray 2.60"})
    assert "cannot be joined: Version mismatch" in refuse(monkeypatch, f"print({answer!r})")


def test_a_process_that_dies_leaves_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, sys; print('[x C 1 1] core.cc:1: Check failed', file=sys.stderr, flush=True); os.abort()"
    assert "Check failed" in refuse(monkeypatch, code)


def test_a_cluster_that_ran_here_once_is_none(free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{free_port}")
    assert joined_address(None) is None
    with pytest.raises(NobodyListensError):
        joined_address(f"127.0.0.1:{free_port}")
