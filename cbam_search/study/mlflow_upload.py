"""Sends a study to MLflow while it is not running."""

from __future__ import annotations

from cbam_search.records.studies import find_study
from cbam_search.safe_text import printable
from cbam_search.study.config import read_config_of
from cbam_search.tracking.rebuild import rebuild


def send_to_mlflow(run: str) -> str:
    """Send a study to MLflow; returns a sentence for the reader. Raises UserError when MLflow does not answer."""
    folder = find_study(run)
    config = read_config_of(folder)
    notes: list[str] = []
    rebuild(folder, config.tracking, notes.append)
    return ". ".join([*notes, f"MLflow has all of study {printable(folder.path.name)}"])
