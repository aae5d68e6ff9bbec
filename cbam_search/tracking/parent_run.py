"""What the parent run says of the study as a whole, apart from what changes while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from cbam_search.records.folder import StudyFolder
from cbam_search.records.front import front_of
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import Origin, Trial
from cbam_search.report.figures.front_html import front_html
from cbam_search.report.figures.front_png import front_png
from cbam_search.report.front_table import front_table
from cbam_search.safe_text import without_secrets
from cbam_search.tracking.notes import study_note

FRONT_TABLE_FILE = "front_table.json"
_LONGEST_PARAM = 500


def study_tags(manifest: StudyManifest) -> dict[str, str]:
    """Identity, data, hardware and versions; the fingerprint is that of the data as they were at launch."""
    return {
        "study": manifest.name,
        "data_fingerprint": manifest.data.fingerprint,
        "hardware": manifest.hardware,
        **{f"version.{package}": version for package, version in manifest.versions.items()},
        "mlflow.note.content": study_note(manifest),
        "mlflow.loggedArtifacts": json.dumps([{"path": FRONT_TABLE_FILE, "type": "table"}]),
    }


def study_params(folder: StudyFolder) -> dict[str, str]:
    """Every setting of the resolved YAML, under its key path."""
    settings = yaml.safe_load(folder.resolved_yaml.read_text(encoding="utf-8")) if folder.resolved_yaml.exists() else {}
    return {path: without_secrets(text)[:_LONGEST_PARAM] for path, text in _flat(settings)}


def study_files(folder: StudyFolder) -> dict[str, bytes]:
    """The YAML as given and as resolved, and the manifest, under `study/`; a password in a comment does not go along."""
    paths = (folder.given_yaml, folder.resolved_yaml, folder.manifest)
    texts = {path.name: path.read_text(encoding="utf-8-sig", errors="replace") for path in paths if path.exists()}
    return {f"study/{name}": without_secrets(text).encode() for name, text in texts.items()}


def front_files(trials: Iterable[Trial], manifest: StudyManifest) -> dict[str, bytes]:
    """The front as table, JSON, picture and interactive page; published designs that were not trained are in the table."""
    shown = [trial for trial in trials if trial.was_trained or trial.candidate.origin is Origin.PUBLISHED]
    rows = front_table(shown, manifest.objectives)
    content = {
        "study": manifest.name,
        "objectives": {objective.name: objective.direction for objective in manifest.objectives},
        "hypervolume": front_of(shown, manifest.objectives).hypervolume,
        "front": [row for row in rows if row["pareto_rank"] == 0],
    }
    return {
        "front.json": (json.dumps(content, indent=1) + "\n").encode(),
        FRONT_TABLE_FILE: json.dumps(_table(rows)).encode(),
        "front.png": front_png(shown, manifest.objectives, title=manifest.name),
        "front.html": front_html(shown, manifest.objectives, title=manifest.name).encode(),
    }


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows as MLflow reads a table: pandas' `split` orientation."""
    columns = list(rows[0]) if rows else []
    return {"columns": columns, "data": [[row[column] for column in columns] for row in rows]}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, value if isinstance(value, str) else json.dumps(value)
