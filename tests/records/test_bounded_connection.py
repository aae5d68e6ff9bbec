"""Connections to PostgreSQL that notice when nobody answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from studies import new_folder

from cbam_search.errors import UserError
from cbam_search.records import bounded_connection
from cbam_search.records.bounded_connection import bounded
from cbam_search.records.storage import open_storage, require_server


def test_other_databases_take_nothing_of_it() -> None:
    assert bounded(make_url("sqlite:///x.db")) == {}
    assert bounded(make_url("mysql://host/x")) == {}


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_server_that_says_nothing_is_given_up_and_no_password_is_shown(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(driver)
    monkeypatch.setitem(bounded_connection._CONNECTION, "connect_timeout", 2)
    monkeypatch.setenv("CBAM_TEST_DATABASE_WORD", "gehe%im nis")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql+{driver}://me:${{CBAM_TEST_DATABASE_WORD}}@127.0.0.1:{server.getsockname()[1]}/x"
        for ask in (lambda: require_server(url), lambda: open_storage(url, new_folder(tmp_path))):
            with pytest.raises(UserError, match=r"cannot be opened: .*(timeout|timed out|no answer)") as caught:
                ask()
            assert "gehe" not in str(caught.value)


def test_sqlite_is_no_server() -> None:
    require_server(None)
    require_server("sqlite:////no/such/folder/x.db")
