"""Which folders inside a folder of images are its splits: train, validation and test, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cbam_search.counted import counted
from cbam_search.data.folder_listing import METADATA, entries_of, is_image, is_passed_over, kind_of
from cbam_search.data.split_names import SPLIT_NAMES
from cbam_search.data.wording import listed


def split_folders(root: Path) -> dict[str, Path]:
    """The folders in `root` by name where one of them is for training, else `root` itself as `train`; raises DataError."""
    folders = {
        entry.name: root / entry.name
        for entry in entries_of(root)
        if not is_passed_over(entry.name) and kind_of(entry) == "folder"
    }
    named = [name for name in folders if name.lower() in SPLIT_NAMES]
    training = [name for name in named if SPLIT_NAMES[name.lower()] == "train"]
    if not training or (named == training and len(folders) > 1 and _is_a_class(folders[training[0]])):
        return {"train": root}
    return folders


def beside_the_splits(root: Path, folders: Mapping[str, Path]) -> Iterator[str]:
    """A note on images that lie in `root`, outside of its splits. folders: what `split_folders` found."""
    if root in folders.values():
        return
    stray = [entry.name for entry in entries_of(root) if is_image(entry.name) and not entry.name.startswith(".")]
    if stray:
        yield f"{counted(len(stray), 'image')} outside of the split folders passed over ({listed(stray)})."


def _is_a_class(folder: Path) -> bool:
    """Whether a folder named train shows trains, beside one of cars: it holds images, and neither folders nor labels."""
    entries = entries_of(folder)
    inner = [entry for entry in entries if not is_passed_over(entry.name) and kind_of(entry) == "folder"]
    return not inner and METADATA not in [entry.name for entry in entries] and any(is_image(entry.name) for entry in entries)
