"""MLflow's settings inside a driver: no log messages, short waits for a server that is away, and no usage data.

Nothing here acts at import. What the user has set in the environment stays as it is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from cbam_search.home import home_given
from cbam_search.variables import set_meanwhile

_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_CHATTY = ("mlflow", "alembic", "sqlalchemy.engine", "urllib3.connectionpool", "git")


@contextmanager
def temporary_mlflow_settings() -> Iterator[None]:
    """Enter it before MLflow is imported and used; environment variables and log levels are put back at the end."""
    unset = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    with home_given(), set_meanwhile(unset):
        yield from _quiet_logs()


def _quiet_logs() -> Iterator[None]:
    import mlflow  # noqa: F401  (sets its own logging levels, so ours come after)

    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
