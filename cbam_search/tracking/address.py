"""Tracking URIs: passwords come from the environment, and go nowhere else."""

from __future__ import annotations

from cbam_search import variables
from cbam_search.safe_text import printable, without_secrets

_LONGEST_PROBLEM = 400


def with_variables(uri: str | None) -> str | None:
    """The URI with each ${NAME} taken from the environment; raises UserError where that is not set."""
    return variables.with_variables(uri, "tracking.uri") if uri else None


def problem_of(error: Exception) -> str:
    """The first line of what MLflow says, without secrets."""
    text = without_secrets(str(error)).strip() or type(error).__name__
    return printable(text.splitlines()[0], _LONGEST_PROBLEM)
