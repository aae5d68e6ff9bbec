"""Connections to PostgreSQL that notice when nobody answers any more; the libraries themselves wait for ever."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import URL

CONNECT_WITHIN_SECONDS = 8
ANSWER_WITHIN_SECONDS = 15.0
"""No statement of ours takes a second; a server that stands still says nothing at all."""
_CONNECTION = {
    "connect_timeout": CONNECT_WITHIN_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": int(1000 * ANSWER_WITHIN_SECONDS),
}


def bounded(url: URL) -> dict[str, Any]:
    """Time limits, as options of SQLAlchemy's `create_engine`; none for other databases. Those in the URL stay."""
    driver = url.get_dialect().driver if url.get_backend_name() == "postgresql" else ""
    options = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    if driver == "psycopg2":
        _bound_answers_of_psycopg2()
        return {"connect_args": options}
    if driver == "psycopg":
        return {"creator": _creator_of_psycopg(url, options)}
    return {}


def _creator_of_psycopg(url: URL, options: dict[str, Any]) -> Callable[[], Any]:
    import psycopg

    class BoundedConnection(psycopg.Connection[Any]):  # type: ignore[misc, unused-ignore]
        """Everything that is asked of the server passes through `wait`."""

        def wait(self, *arguments: Any, **more: Any) -> Any:
            watch = threading.Timer(ANSWER_WITHIN_SECONDS, _cut_off, [self.fileno()])
            watch.daemon = True
            watch.start()
            try:
                return super().wait(*arguments, **more)
            finally:
                watch.cancel()

    positional, named = url.get_dialect()().create_connect_args(url)
    return lambda: BoundedConnection.connect(*positional, **{**options, **named})


def _cut_off(descriptor: int) -> None:
    """Whoever waits for the other side finds the connection closed."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _bound_answers_of_psycopg2() -> None:
    """Wait for answers here, with a time limit and open to signals."""
    import psycopg2
    from psycopg2 import extensions

    def wait(connection: Any) -> None:
        while (state := connection.poll()) != extensions.POLL_OK:
            reading = [connection.fileno()] if state == extensions.POLL_READ else []
            writing = [connection.fileno()] if state == extensions.POLL_WRITE else []
            if not any(select.select(reading, writing, [], ANSWER_WITHIN_SECONDS)):
                raise psycopg2.OperationalError(f"the server gave no answer within {ANSWER_WITHIN_SECONDS:g} s")

    extensions.set_wait_callback(wait)
