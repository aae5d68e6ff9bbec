"""Sends a study to MLflow while it is not running."""

from __future__ import annotations

from pathlib import Path

from cbam_search.records.folder import find_study
from cbam_search.study.config import read_study_config
from cbam_search.tracking.rebuild import rebuild


def send_to_mlflow(run: str) -> str:
    """Send a study to MLflow; returns a sentence for the reader. Raises UserError when MLflow does not answer."""
    folder = find_study(run)
    config, _ = read_study_config(folder.given_yaml, base=Path(folder.read_manifest().yaml_folder))
    rebuild(folder, config.tracking)
    return f"MLflow has all of study {folder.path.name}"
