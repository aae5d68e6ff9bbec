"""A folder of image files: a folder a class, under train/, validation/ (or val/) and test/, or without split folders.

    photos/train/cat/1.jpg  photos/val/dog/2.jpg        photos/cat/1.jpg  photos/dog/2.jpg

A class is the folder that an image lies in; beside the class folders an image has no label. As in the `imagefolder`
layout of Hugging Face, a split folder may hold a `metadata.csv` with a column `file_name` (a path from that folder);
further columns are labels (`label_column`) and groups (`group_column`).
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from cbam_search.data.config import DatasetConfig
from cbam_search.data.source import SPLIT_NAMES, IntArray, Item, Source, SourceSplit, recognise_splits
from cbam_search.errors import DataError

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})


def open_image_folder(config: DatasetConfig) -> Source:
    """List the images of `config.path`; files are opened later. Raises DataError where there are none."""
    assert config.path is not None
    root = Path(config.path)
    if not root.is_dir():
        raise DataError(f"dataset.path: there is no folder {root}.")
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    is_split = any(SPLIT_NAMES.get(folder.name.lower()) == "train" for folder in folders)
    above = (root.resolve(),)
    files = {folder.name: _images(folder, above) for folder in folders} if is_split else {"train": _images(root, ())}
    files = {name: found for name, found in files.items() if found}
    if not files:
        raise DataError(f"{root} holds no image file ({', '.join(sorted(_SUFFIXES))}).")
    found = {name: _split(root / name if is_split else root, paths, config) for name, paths in files.items()}
    splits, split_notes = recognise_splits(found)
    return Source(splits=splits, identity=_identity(root, files), notes=split_notes)


def _images(folder: Path, above: tuple[Path, ...]) -> list[Path]:
    """Files with an image's suffix at any depth, in the order of their names.

    Hidden ones are passed over, and so are links back to a folder above. Other links are followed.
    """
    if folder.resolve() in above:
        return []
    above = (*above, folder.resolve())
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            found += _images(path, above)
        elif path.suffix.lower() in _SUFFIXES:
            found.append(path)
    return found


def _split(folder: Path, paths: list[Path], config: DatasetConfig) -> SourceSplit:
    metadata = _metadata(folder)
    needed = [column for column in (config.label_column, config.group_column) if column is not None]
    for column in needed:
        if not metadata or column not in next(iter(metadata.values())):
            raise DataError(f"Column '{column}' needs a {folder / 'metadata.csv'} with columns file_name and {column}.")
    listed = [metadata.get(path.relative_to(folder).as_posix(), {}) for path in paths]
    if config.label_column:
        labels = [row.get(config.label_column) for row in listed]
    else:
        labels = [path.parent.name if path.parent != folder else None for path in paths]
    for label in labels:
        if label and label != label.encode(errors="ignore").decode():
            raise DataError(f"The name of the class folder {label!r} in {folder} is not UTF-8: rename it.")

    def read(rows: IntArray) -> Iterator[Item]:
        return (paths[row] for row in rows)

    groups = np.array([row.get(config.group_column) for row in listed], dtype=object) if config.group_column else None
    return SourceSplit(labels=np.array(labels, dtype=object), groups=groups, read=read)


def _metadata(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / "metadata.csv"
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    if rows and "file_name" not in rows[0]:
        raise DataError(f"{path} has no column file_name; its columns are: {', '.join(rows[0])}.")
    return {row["file_name"]: row for row in rows}


def _identity(root: Path, files: Mapping[str, list[Path]]) -> str:
    hasher = hashlib.sha256(os.fsencode(root))
    metadata = [root / "metadata.csv", *(root / split / "metadata.csv" for split in files)]
    for split, paths in {"": metadata, **files}.items():
        for path in paths:
            hasher.update(os.fsencode(f"{split}\0{path.relative_to(root)}\0{_stamp(path)}\n"))
    return hasher.hexdigest()


def _stamp(path: Path) -> str:
    """Size and time of the last change. A link to nothing has none: it is counted as corrupt when it is read."""
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return f"{status.st_size}\0{status.st_mtime_ns}"
