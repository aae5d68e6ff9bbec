from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from cbam_search.errors import UserError
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.old_store import refuse_folder_of_files


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    return tmp_path


@pytest.mark.parametrize("uri", ["mlruns", "./runs", "/tmp/runs", "file:///tmp/runs"])
def test_a_folder_that_mlflow_refuses_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MlflowException):
        MlflowClient(tracking_uri=uri).search_experiments()
    with pytest.raises(UserError, match=r"^tracking\.uri: .* is a folder of files.* sqlite:///mlflow\.db"):
        refuse_folder_of_files(TrackingConfig(uri=uri))
    refuse_folder_of_files(TrackingConfig(uri=uri, mlflow=False))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"^\$MLFLOW_TRACKING_URI: "):
        refuse_folder_of_files(TrackingConfig())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    refuse_folder_of_files(TrackingConfig())


@pytest.mark.parametrize("uri", [None, "sqlite:///mlflow.db", "http://127.0.0.1:5000", "databricks", "databricks://profile"])
def test_other_stores_are_let_through(uri: str | None) -> None:
    refuse_folder_of_files(TrackingConfig(uri=uri))


def test_runs_of_an_older_mlflow_in_the_folder_are_told(here: Path) -> None:
    (here / "mlruns" / "0").mkdir(parents=True)
    refuse_folder_of_files(TrackingConfig())  # artifacts alone, as beside a database
    (here / "mlruns" / "0" / "meta.yaml").write_text("")
    with pytest.raises(UserError, match=r"mlruns here holds runs of an older MLflow.*tracking\.uri"):
        refuse_folder_of_files(TrackingConfig())
    refuse_folder_of_files(TrackingConfig(uri="sqlite:///mlflow.db"))
