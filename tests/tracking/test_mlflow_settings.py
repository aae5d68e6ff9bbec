"""What MLflow is told while it is used here, and that its settings are put back."""

from __future__ import annotations

import os

from cbam_search.tracking.mlflow_settings import temporary_mlflow_settings


def test_mlflow_prints_nothing_of_its_own() -> None:
    before = dict(os.environ)
    with temporary_mlflow_settings():
        from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

        assert MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get() is True
    assert dict(os.environ) == before
