"""How far the ledger has been written to MLflow, and as which runs: a small file in the study's folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cbam_search.durable import write_atomically

MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens when it is given no options."""


class Cursor(BaseModel):
    """offset: bytes of the ledger that are in MLflow. store: tracking URI, password hidden. runs: run id by trial number.

    It is valid for one parent run alone: where that run is not found, everything is written again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: int
    store: str
    experiment_id: str
    parent_run_id: str
    runs: dict[int, str]

    @property
    def server(self) -> str | None:
        """Address of the tracking server; None for a store that `mlflow ui` serves."""
        return self.store.rstrip("/") if self.store.startswith(("http://", "https://")) else None

    @property
    def page(self) -> str:
        """Address of the study's page on its server, or on the one that `mlflow ui` starts."""
        server = self.server or MLFLOW_UI
        return f"{server}/#/experiments/{self.experiment_id}/runs/{self.parent_run_id}?workflowType=machine_learning"


def read_cursor(path: Path) -> Cursor | None:
    """None where there is none, or none that can be read: losing it costs time, never rows."""
    try:
        return Cursor.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def write_cursor(path: Path, cursor: Cursor) -> None:
    write_atomically(path, cursor.model_dump_json(indent=1) + "\n")
