"""The token that Ray's processes know each other by, for users whose home folder cannot keep one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cbam_search.variables import set_meanwhile

_TOKEN = "RAY_AUTH_TOKEN"


@contextmanager
def token_without_a_home() -> Iterator[None]:
    """Around the time that Ray, started by this process, is in use.

    Ray makes a token in the home folder. Where that cannot be written, as for a container's user who has none, there is one in
    the environment meanwhile.
    """
    given = any(os.environ.get(name) for name in (_TOKEN, f"{_TOKEN}_PATH"))
    if given or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or _home_takes_a_token():
        yield
        return
    with set_meanwhile({_TOKEN: secrets.token_hex(32)}):
        yield


def _home_takes_a_token() -> bool:
    try:
        token = Path.home() / ".ray" / "auth_token"
        if token.exists():
            return os.access(token, os.R_OK)
        token.parent.mkdir(parents=True, exist_ok=True)
        return os.access(token.parent, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):  # the latter: there is no home folder
        return False
