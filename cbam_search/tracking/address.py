"""Tracking URIs: passwords come from the environment, and go nowhere else."""

from __future__ import annotations

from cbam_search import variables
from cbam_search.safe_text import printable, without_secrets

_LONGEST_PROBLEM = 400
NOT_MLFLOW = "what answers there does not talk as MLflow does: it may be a proxy, a login page, or another program"
_HINTS = (
    ("CERTIFICATE_VERIFY_FAILED", "MLFLOW_TRACKING_SERVER_CERT_PATH names a certificate that is to be trusted"),
    ("Invalid Host header", "`mlflow server --allowed-hosts` must list the server's name as it is written here"),
    ("error code 401", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, say who you are"),
    ("error code 403", "the server knows who asks and does not allow it, or a proxy before it does not"),
    ("not in a valid JSON format", NOT_MLFLOW),
    ("INTERNAL_ERROR: Response:", NOT_MLFLOW),
    ("Exceeded 30 redirects", NOT_MLFLOW),
)
"""What MLflow says of a failure, and what the reader can do."""


def with_variables(uri: str | None) -> str | None:
    """The URI with each ${NAME} taken from the environment; raises UserError where that is not set."""
    return variables.with_variables(uri, "tracking.uri") if uri else None


def problem_of(error: Exception) -> str:
    """The first line of what MLflow says, without secrets, and what can be done about it where that is known."""
    text = without_secrets(str(error)).strip() or type(error).__name__
    hints = [hint for said, hint in _HINTS if said in text]
    return ". ".join([printable(text.splitlines()[0], _LONGEST_PROBLEM), *hints[:1]])
