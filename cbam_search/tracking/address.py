"""Tracking URIs: passwords come from the environment, and go nowhere else."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from cbam_search import variables

_SECRET_OPTION = re.compile(r"([?&](?:password|passwd|pwd|token|secret)=)[^&#]+", re.IGNORECASE)
_LONGEST_PROBLEM = 400


def with_variables(uri: str | None) -> str | None:
    """The URI with each ${NAME} taken from the environment; raises UserError where that is not set."""
    return variables.with_variables(uri, "tracking.uri") if uri else None


def without_secrets(uri: str) -> str:
    """The URI without its secrets, fit for files and messages."""
    hidden = _SECRET_OPTION.sub(r"\1***", uri)
    password = _password(hidden)
    return hidden.replace(f":{password}@", ":***@", 1) if password else hidden


def message_without_secrets(error: Exception, uri: str | None) -> str:
    """The first line of `error`, without the secrets that the tracking URI holds."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    for address in (uri, os.environ.get("MLFLOW_TRACKING_URI")):
        password = _password(variables.with_known_variables(address or ""))
        for secret in filter(None, (password, unquote(password or ""))):
            text = text.replace(secret, "***")
    return _SECRET_OPTION.sub(r"\1***", text)[:_LONGEST_PROBLEM]


def _password(uri: str) -> str | None:
    try:
        return urlsplit(uri).password
    except ValueError:
        return None
