"""A folder of files as MLflow's store, as its versions 1 and 2 made: version 3 writes to none, unless it is told to."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from cbam_search.errors import UserError
from cbam_search.safe_text import printable
from cbam_search.tracking.config import TrackingConfig

_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"
_ADDRESS = "MLFLOW_TRACKING_URI"
_NAMES = frozenset({"databricks", "databricks-uc", "uc"})
"""Stores that are named without a scheme."""


def refuse_folder_of_files(config: TrackingConfig) -> None:
    """Raise UserError where MLflow would refuse the store that the settings, or the folder we are in, lead to."""
    if not config.mlflow or os.environ.get(_ALLOWED, "").lower() in ("true", "1"):
        return
    instead = "Give a database, such as sqlite:///mlflow.db, in tracking.uri, or set tracking.mlflow: false"
    uri = config.uri or os.environ.get(_ADDRESS, "")
    if uri:
        setting = "tracking.uri" if config.uri else f"${_ADDRESS}"
        if urlsplit(uri).scheme in ("", "file") and uri not in _NAMES:
            raise UserError(f"{setting}: {printable(uri)} is a folder of files, to which MLflow 3 no longer writes. {instead}")
    elif any(found.parent.name.isdigit() for found in Path("mlruns").glob("*/meta.yaml")):
        raise UserError(
            f"the folder mlruns here holds runs of an older MLflow, and MLflow 3 no longer writes to it. {instead}; "
            "`mlflow migrate-filestore` brings the old runs into a database"
        )
