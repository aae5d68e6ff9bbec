from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from cbam_search.errors import UserError
from cbam_search.safe_text import without_secrets
from cbam_search.tracking.address import problem_of, with_variables
from cbam_search.tracking.config import TrackingConfig


def test_a_password_in_plain_text_is_refused() -> None:
    with pytest.raises(ValidationError, match="plain text"):
        TrackingConfig(uri="postgresql://user:secret@host/mlflow")


def test_a_password_from_the_environment_is_taken_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrackingConfig(uri="postgresql://user:${MLFLOW_TEST_PASSWORD}@host/mlflow")
    with pytest.raises(UserError, match="MLFLOW_TEST_PASSWORD, which is not set"):
        with_variables(config.uri)
    monkeypatch.setenv("MLFLOW_TEST_PASSWORD", "secret")
    assert with_variables(config.uri) == "postgresql://user:secret@host/mlflow"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("https://me:secret@mlflow.example.org/x", "https://me:***@mlflow.example.org/x"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me&password=***"),
        ("databricks", "databricks"),
    ],
)
def test_addresses_are_shown_without_secrets(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown


def test_problems_are_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s%40cret@host:1")
    error = OSError("API request to http://me:s%40cret@host:1/api failed (s@cret)\nmore")
    assert problem_of(error) == "API request to http://me:***@host:1/api failed (***)"


def test_nothing_heavy_comes_with_the_settings_or_the_uploader() -> None:
    heavy = "{'mlflow', 'torch', 'ray', 'optuna', 'datasets', 'matplotlib', 'plotly'}"
    code = f"import sys, cbam_search.tracking.config; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
    code = f"import sys, cbam_search.tracking.uploader, cbam_search.tracking.rebuild; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
