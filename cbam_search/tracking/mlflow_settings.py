"""MLflow's settings inside a driver: no log messages, short waits for a server that is away, and no usage data.

Nothing here acts at import. What the user has set in the environment stays as it is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from cbam_search.home import home_given

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
    with home_given():
        yield from _settings()


def _settings() -> Iterator[None]:
    added = [name for name in _ENVIRONMENT if name not in os.environ]
    os.environ.update({name: _ENVIRONMENT[name] for name in added})
    import mlflow  # noqa: F401  (sets its own logging levels, so ours come after)

    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in added:
            os.environ.pop(name, None)
