"""Which folder names an image's class, where folders may lie inside folders.

cat/1.png            the only folder, so the class
photos/cat/1.png     `photos` holds everything: the folders in it are the classes
cat/1.png cat/more/2.png   `cat` holds images itself, so it is a class, and what lies deeper belongs to it
cat/2019/1.png       `cat` (as torchvision has it) or `2019` (as Hugging Face has it)? Refused until `class_folder` says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from cbam_search.counted import counted
from cbam_search.data.split_names import looks_like_splits
from cbam_search.data.wording import inside, listed
from cbam_search.errors import DataError
from cbam_search.safe_text import printable

ClassFolder = Literal["first", "last"]
Folders = tuple[str, ...]


def class_folders(
    images: Mapping[Path, Sequence[Path]], root: Path, wanted: ClassFolder | None
) -> tuple[dict[Path, list[str]], list[str]]:
    """The class of every image, by split folder, and notes.

    images: by split folder (`root` itself where there are no splits), each at least one folder deep. wanted: `first` is the
    folder below the split folder, `last` the one that the image lies in, None what is clear by itself.
    Raises DataError where it is not clear, and where class folders look like splits.
    """
    parents = {folder: [_parents(path, folder) for path in paths] for folder, paths in images.items()}
    notes: list[str] = []
    which = wanted or _clear_one(parents, root, notes)
    place = 0 if which == "first" else -1
    labels = {folder: [between[place] for between in every] for folder, every in parents.items()}
    _refuse_splits(sorted({label for found in labels.values() for label in found}), root)
    return labels, notes


def _parents(path: Path, folder: Path) -> Folders:
    # Slicing text, since Path.relative_to takes seconds for a million images.
    return tuple(os.path.dirname(os.fspath(path))[len(os.fspath(folder)) + 1 :].split(os.sep))  # noqa: PTH120, PTH206


def _clear_one(parents: Mapping[Path, Sequence[Folders]], root: Path, notes: list[str]) -> ClassFolder:
    kinds = {folder: set(every) for folder, every in parents.items()}
    every_kind = set[Folders]().union(*kinds.values())
    above = {folder: {between[:-1] for between in kind} for folder, kind in kinds.items()}
    wrapping = {name for found in above.values() for names in found for name in names}
    if all(len(found) == 1 for found in above.values()) and not wrapping & {between[-1] for between in every_kind}:
        wrapped = [folder.joinpath(*names) for folder, found in above.items() for names in found if names]
        if wrapped:
            notes.append(f"Classes are the folders in {listed(inside(folder, root) for folder in wrapped)}.")
        return "last"
    deep = {between for between in every_kind if len(between) > 1}
    if all((between[0],) in every_kind for between in deep):
        number = sum(between in deep for every in parents.values() for between in every)
        example = printable("/".join(min(deep)))
        notes.append(f"{counted(number, 'image')} in folders inside class folders (such as {example}) belong to these classes.")
        return "first"
    raise DataError(_not_clear(every_kind, root, has_splits=root not in parents))


def _not_clear(kinds: set[Folders], root: Path, *, has_splits: bool) -> str:
    example = printable("/".join(min(kind for kind in kinds if len(kind) > 1)))
    where = f"{printable(root)}: folders lie inside class folders, such as {example}"
    levels = [sorted({kind[level] for kind in kinds if len(kind) > level}) for level in range(3)]
    splits = next((names for names in levels if looks_like_splits(names)), None)
    if splits:
        return (
            f"{where}, and {listed(splits)} look like splits. Name them train, validation and test, with the class folders "
            "inside, and set dataset.path to the folder that holds them."
        )
    change = "Set"
    while len({kind[0] for kind in kinds}) == 1 and not has_splits:
        root = root / next(iter(kinds))[0]
        kinds = {kind[1:] for kind in kinds}
        change = f"Set dataset.path to {printable(root)}, and"
    first, last = sorted({kind[0] for kind in kinds}), sorted({kind[-1] for kind in kinds})
    return (
        f"{where}, and it is not clear which of them is the class. {change} dataset.class_folder to `first` (classes "
        f"{listed(first, 5)}) or to `last` (classes {listed(last, 5)})."
    )


def _refuse_splits(labels: Sequence[str], root: Path) -> None:
    if looks_like_splits(labels):
        raise DataError(
            f"{printable(root)}: the folders {listed(labels, 5)} would be the classes, but look like splits. Name them train, "
            "validation and test, with a folder a class inside each, or give the labels in a metadata.csv."
        )
