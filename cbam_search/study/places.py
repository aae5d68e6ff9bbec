"""Whether what a study's settings name is where they say, before anything is loaded or made."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from cbam_search.data.config import PATTERN_KEYS
from cbam_search.errors import DataError, UserError
from cbam_search.records.folder import StudyFolder
from cbam_search.safe_text import printable
from cbam_search.study.config import StudyConfig


def require_utf8(*paths: Path) -> None:
    """Raise UserError for a path that JSON, SQLite and MLflow could not keep."""
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise UserError(f"{printable(path)} has a name that is not UTF-8, which no study can keep. Rename it") from None


def require_files(folder: StudyFolder, config: StudyConfig) -> None:
    """Raise DataError where images or weights of a study that was launched are gone: with what to edit, if they have moved."""
    gone = [(key, path) for key, path in _files(config) if "${" not in path and not _is_there(path)]
    if not gone:
        return
    named = "; ".join(f"{key}: there is no {printable(path, 1000)}" for key, path in gone)
    keys = " and ".join(dict.fromkeys(key for key, _ in gone))
    raise DataError(
        f"{named}. If that has moved, write its place under {keys} in {printable(folder.given_yaml, 1000)} and resume again; "
        f"relative paths there start at {printable(folder.project().yaml_folder, 1000)}"
    )


def _files(config: StudyConfig) -> Iterator[tuple[str, str]]:
    """Key and path of each."""
    for split in PATTERN_KEYS:
        yield from ((f"dataset.{split}", path) for path in config.dataset.files(split))
    if config.dataset.path is not None:
        yield "dataset.path", config.dataset.path
    yield from (("backbone.weights", str(path)) for path in config.backbone.weights_files().values())


def _is_there(path: str) -> bool:
    return Path(path).exists() or bool(glob.has_magic(path) and next(glob.iglob(path, recursive=True), None))  # noqa: PTH207
