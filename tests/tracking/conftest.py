from __future__ import annotations

from pathlib import Path

import pytest
from mlflow_contents import StoreContents
from synthetic_study import SyntheticStudy, synthetic_study

from cbam_search.tracking.config import TrackingConfig


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a working folder, and so a default store, of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made once: that takes over a second."""
    from cbam_search.tracking.mlflow_settings import temporary_mlflow_settings

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with temporary_mlflow_settings():
        from mlflow.tracking import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> StoreContents:
    """The default store of the working folder."""
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return StoreContents(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture
def config() -> TrackingConfig:
    return TrackingConfig()


@pytest.fixture
def study(tmp_path: Path) -> SyntheticStudy:
    return synthetic_study(tmp_path / "studies")
