"""First contact with MLflow: whether anybody answers at its address, in seconds. MLflow's own client tries for minutes."""

from __future__ import annotations

import os
import socket
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from cbam_search.errors import UserError
from cbam_search.safe_text import printable, reason

ANSWER_WITHIN_SECONDS = 8.0
"""For the connection, and as long again for the first words."""
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def require_answer(uri: str | None) -> None:
    """Return once a server answered at the tracking URI, whatever it said; other stores are not looked at.

    uri: with its secrets, which no message shows; None for $MLFLOW_TRACKING_URI. Raises UserError.
    """
    parts = urlsplit(uri or os.environ.get("MLFLOW_TRACKING_URI", ""))
    scheme = parts.scheme.partition("+")[0]
    if scheme not in _PORTS or not parts.hostname:
        return
    try:
        where = f"{parts.hostname}:{parts.port or _PORTS[scheme]}"
        socket.create_connection((parts.hostname, parts.port or _PORTS[scheme]), ANSWER_WITHIN_SECONDS).close()
        if scheme in ("http", "https"):
            _require_words(parts.geturl())
    except TimeoutError:
        raise UserError(f"nobody answers at {printable(where)} within {ANSWER_WITHIN_SECONDS:g} s") from None
    except (OSError, ValueError) as error:
        raise UserError(f"nobody answers at {printable(parts.hostname)}: {reason(error)}") from None


def _require_words(uri: str) -> None:
    """Raises OSError where the server says nothing. What it says of this address is for MLflow's client to judge."""
    address = urlsplit(uri)
    plain = address._replace(netloc=address.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    request = Request(f"{plain}/health", headers={"User-Agent": "cbam-search"})
    try:
        urlopen(request, timeout=ANSWER_WITHIN_SECONDS).close()
    except URLError as error:
        # Codes, and certificates, are for MLflow's client to judge too, which has settings of its own for them.
        if not isinstance(error, HTTPError) and isinstance(error.reason, TimeoutError):
            raise error.reason from None
    except HTTPException:
        return
