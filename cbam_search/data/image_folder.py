"""A folder of image files: a folder a class, under train/, validation/ (or val/) and test/, or without split folders.

    photos/train/cat/1.jpg  photos/val/dog/2.jpg        photos/cat/1.jpg  photos/dog/2.jpg

A class is the folder that an image lies in (`folder_classes` says what becomes of folders inside folders). As in the
`imagefolder` layout of Hugging Face, a split folder may hold a `metadata.csv` with a column `file_name` (a path from that
folder); further columns are labels (`label_column`) and groups (`group_column`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbam_search.counted import counted
from cbam_search.data.config import DatasetConfig
from cbam_search.data.folder_classes import class_folders
from cbam_search.data.folder_listing import METADATA, SUFFIXES, Listing, list_folder
from cbam_search.data.folder_metadata import read_metadata
from cbam_search.data.folder_splits import beside_the_splits, split_folders
from cbam_search.data.source import IntArray, Item, Source, SourceSplit, recognise_splits
from cbam_search.data.split_names import SPLIT_NAMES
from cbam_search.data.wording import inside, listed
from cbam_search.errors import DataError
from cbam_search.safe_text import printable, reason
from cbam_search.variables import brace_hint


@dataclass(frozen=True)
class _Part:
    """A split folder, or the whole folder where there are none, and its images."""

    name: str
    folder: Path
    listing: Listing
    images: list[Path]

    @property
    def names(self) -> list[str]:
        """The images as they are called from the folder."""
        start = len(os.fspath(self.folder)) + 1
        return [os.fspath(path)[start:] for path in self.images]


def open_image_folder(config: DatasetConfig) -> Source:
    """List the images of `config.path`; files are opened later.

    Raises DataError where there are none, where a folder or a metadata.csv cannot be read, and where classes are not clear.
    """
    assert config.path is not None
    root = Path(config.path)
    _check_is_folder(root)
    folders = split_folders(root)
    every = [
        _Part(name, folder, listing, listing.images)
        for name, folder in folders.items()
        for listing in [list_folder(folder, root)]
    ]
    found = {part.name: part for part in every if part.images}
    if not found:
        seen = " ".join(note for part in every for note in part.listing.notes())
        raise DataError(f"{printable(root)} holds no image file ({', '.join(sorted(SUFFIXES))}). {seen}".rstrip())
    for name in folders:
        if SPLIT_NAMES.get(name.lower()) == "train" and name not in found:
            raise DataError(f"{printable(root / name)}, the training split, holds no image file, but other folders do.")
    identity = _identity(root, {name: part.images for name, part in found.items()})
    parts, split_notes = recognise_splits(found)
    notes = [*split_notes, *beside_the_splits(root, folders)]
    for part in parts.values():
        notes += part.listing.notes()
    if config.label_column is None:
        parts, labels, more = _labels_by_folder(parts, root, config)
        notes += more
    else:
        labels = {}
    splits = {}
    for name, part in parts.items():
        splits[name], more = _split(part, labels.get(part.folder), config)
        notes += more
    _refuse_one_class(splits, notes)
    return Source(splits=splits, identity=identity, notes=tuple(notes))


def _refuse_one_class(splits: Mapping[str, SourceSplit], notes: Sequence[str]) -> None:
    """With what was noted, which tells why."""
    classes = {label for split in splits.values() for label in split.labels.tolist() if label}
    if len(classes) == 1:
        raise DataError(
            " ".join((f"The images have only class '{printable(*classes)}'; classification needs two classes or more.", *notes))
        )


def _check_is_folder(root: Path) -> None:
    try:
        if root.is_dir():
            return
        exists = root.exists()
    except OSError as error:
        raise DataError(f"dataset.path: the folder cannot be reached: {reason(error)}.") from error
    if exists:
        raise DataError(f"dataset.path: {printable(root)} is a file, not a folder. Unpack an archive first.")
    raise DataError(f"dataset.path: there is no folder {printable(root)}.{brace_hint(str(root))}")


def _labels_by_folder(
    parts: Mapping[str, _Part], root: Path, config: DatasetConfig
) -> tuple[dict[str, _Part], dict[Path, list[str]], list[str]]:
    """Parts without the images that lie in no class folder, the labels of those that have some by their folder, and notes."""
    kept, notes = {}, []
    for name, part in parts.items():
        inner = [path for path, called in zip(part.images, part.names, strict=True) if os.sep in called]
        if inner and len(inner) < len(part.images):
            beside = [called for called in part.names if os.sep not in called]
            have = "image has" if len(beside) == 1 else "images have"
            where = printable(part.folder)
            notes.append(f"{len(beside):,} {have} no label, lying in {where} outside of the class folders ({listed(beside)}).")
        kept[name] = replace(part, images=inner or part.images)
    in_classes = {part.folder: part.images for part in kept.values() if os.sep in part.names[0]}
    if kept["train"].folder not in in_classes:
        raise DataError(
            f"No image in {printable(kept['train'].folder)} has a label: there is no class folder. Put the images of each "
            f"class into a folder, or give a {METADATA} with columns file_name and label, and set dataset.label_column: label."
        )
    labels, more = class_folders(in_classes, root, config.class_folder)
    notes += more
    for part in kept.values():
        _check_utf8(part.folder, labels.get(part.folder, []))
        outermost = {called.split(os.sep, 1)[0] for called in part.names}
        empty = [inside(folder, root) for folder in part.listing.folders if folder.name not in outermost]
        if empty:
            are = "is" if len(empty) == 1 else "are"
            notes.append(f"{counted(len(empty), 'folder')} without an image {are} no class: {listed(empty)}.")
    return kept, labels, notes


def _check_utf8(folder: Path, labels: Sequence[str]) -> None:
    for label in dict.fromkeys(labels):
        if label != label.encode(errors="ignore").decode():
            raise DataError(
                f"The name of the class folder '{printable(label)}' in {printable(folder)} is not UTF-8: rename it."
            )


def _split(part: _Part, labels: Sequence[str] | None, config: DatasetConfig) -> tuple[SourceSplit, list[str]]:
    """labels: those of folders, where folders give them."""
    needed = [column for column in (config.label_column, config.group_column) if column is not None]
    metadata = read_metadata(part.folder, needed)
    if metadata is None and needed:
        raise DataError(
            f"Column '{printable(needed[0])}' needs a {printable(part.folder / METADATA)} with columns file_name and "
            f"{printable(needed[0])}."
        )
    columns: dict[str, list[str | None]] = {}
    notes: list[str] = []
    if metadata is not None:
        names = [called.replace(os.sep, "/") for called in part.names]
        notes += metadata.notes(names, needed)
        columns = {
            column: [row[place] if (row := metadata.rows.get(name)) else None for name in names]
            for place, column in enumerate(needed)
        }

    def read(rows: IntArray) -> Iterator[Item]:
        return (part.images[row] for row in rows)

    found: Sequence[str | None] = labels or [None] * len(part.images)
    if config.label_column:
        found = columns[config.label_column]
    groups = _objects(columns[config.group_column]) if config.group_column else None
    return SourceSplit(labels=_objects(found), groups=groups, read=read), [*notes, *_namesakes(part)]


def _objects(values: Sequence[str | None]) -> npt.NDArray[Any]:
    return np.array(values, dtype=object)


def _namesakes(part: _Part) -> Iterator[str]:
    """Files that differ in their suffix alone."""
    stems: dict[str, str] = {}
    pairs = [(stems.setdefault(os.path.splitext(name)[0], name), name) for name in part.names]  # noqa: PTH122 - a million names
    pairs = [(one, other) for one, other in pairs if one != other]
    if pairs:
        verb = "image differs" if len(pairs) == 1 else "images differ"
        yield f"{len(pairs):,} {verb} from another in the suffix alone, and may show the same ({listed(pairs[0])})."


def _identity(root: Path, files: Mapping[str, list[Path]]) -> str:
    hasher = hashlib.sha256(os.fsencode(root))
    metadata = [root / METADATA, *(root / split / METADATA for split in files)]
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
