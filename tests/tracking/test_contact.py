"""Whether anybody answers at MLflow's address is known in seconds."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cbam_search.errors import UserError
from cbam_search.tracking import contact
from cbam_search.tracking.address import problem_of
from cbam_search.tracking.contact import require_answer


class Refusing(BaseHTTPRequestHandler):
    """Lets nobody in."""

    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


def test_whatever_a_server_says_is_an_answer() -> None:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    require_answer(f"http://me:secret@127.0.0.1:{server.server_port}/path")
    server.shutdown()
    server.server_close()


def test_nothing_listens() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    for scheme in ("http", "https", "postgresql", "mysql+pymysql"):
        with pytest.raises(UserError, match=r"nobody answers at 127\.0\.0\.1: Connection refused") as caught:
            require_answer(f"{scheme}://me:secret@127.0.0.1:{port}/x")
        assert "secret" not in str(caught.value)


def test_a_name_that_is_none_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://no-such-host.invalid:5000")
    with pytest.raises(UserError, match=r"nobody answers at no-such-host\.invalid"):
        require_answer(None)


def test_someone_listens_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "ANSWER_WITHIN_SECONDS", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(UserError, match=r"nobody answers at 127\.0\.0\.1:"),
    ):
        require_answer(f"http://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "file:/tmp/x", "databricks", "./mlruns"])
def test_stores_without_a_server_are_not_looked_at(uri: str) -> None:
    require_answer(uri)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("(Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')))", "SERVER_CERT_PATH"),
        ("endpoint /api failed with error code 403 != 200. Response body: 'Invalid Host header'", "--allowed-hosts"),
        ("endpoint /api failed with error code 401 != 200. Response body: 'no'", "MLFLOW_TRACKING_USERNAME"),
        ("the response body was not in a valid JSON format. Response body: '<html>'", "a proxy, a login page"),
    ],
)
def test_what_mlflow_says_leads_to_what_can_be_done(said: str, hint: str) -> None:
    told = problem_of(RuntimeError(f"{said}\nmore"))
    assert told.startswith(said)
    assert hint in told
    assert "more" not in told
    assert problem_of(RuntimeError("away")) == "away"
