"""What lies in a folder: images, and all that is passed over, counted.

Passed over are hidden files, folders that programs make for themselves (thumbnails, recycle bins), files whose suffix is no
image's, and pipes and devices. Links are followed, but never back to a folder above.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cbam_search.counted import counted
from cbam_search.data.wording import inside
from cbam_search.errors import DataError
from cbam_search.safe_text import printable, reason

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
METADATA = "metadata.csv"

_TOOL_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
_TOOL_FILES = frozenset({"thumbs.db", "desktop.ini", METADATA})
_MANY_HIDDEN = 10
_SUFFIXES_SHOWN = 6
_Kind = Literal["folder", "file", "link to nothing", "pipe or device"]


@dataclass
class Listing:
    """images: files with an image's suffix, in the order of their names, folder by folder.

    passed_over: how many files, by suffix or kind, and an example of each. folders: the outermost ones, but hidden ones and
    those of programs. leading_out: links to folders outside of `root`.
    """

    root: Path
    images: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    example: dict[str, Path] = field(default_factory=dict)
    hidden: int = 0
    leading_out: list[Path] = field(default_factory=list)

    def pass_over(self, kind: str, path: Path) -> None:
        self.passed_over[kind] += 1
        self.example.setdefault(kind, path)

    def notes(self) -> Iterator[str]:
        """What was passed over in one sentence, and what links lead elsewhere."""
        kinds = self.passed_over.most_common()
        shown = [f"{number:,} {kind} ({inside(self.example[kind], self.root)})" for kind, number in kinds[:_SUFFIXES_SHOWN]]
        if len(kinds) > _SUFFIXES_SHOWN:
            shown.append(f"{sum(number for _, number in kinds[_SUFFIXES_SHOWN:]):,} of other suffixes")
        if self.hidden > max(_MANY_HIDDEN, len(self.images) // 10):
            shown.append(f"{self.hidden:,} hidden")
        if shown:
            yield f"Passed over, since they are no images: {', '.join(shown)}."
        if self.leading_out:
            first = self.leading_out[0]
            yield (
                f"{counted(len(self.leading_out), 'link')} to folders outside of the data followed (the first: "
                f"{inside(first, self.root)}, to {printable(os.path.realpath(first))})."
            )


def list_folder(folder: Path, root: Path) -> Listing:
    """All images in `folder` at any depth. root: the data's folder, from which examples are named and links judged.

    Raises DataError for a folder that cannot be listed, and for a link to nothing in the place of a class folder.
    """
    listing = Listing(root)
    above = () if folder == root else (os.path.realpath(root),)
    _walk(folder, above, listing, outermost=True)
    return listing


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """What lies directly in `folder`, by name. Raises DataError where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(_not_readable(error)) from error


def kind_of(entry: os.DirEntry[str]) -> _Kind:
    """What the entry is, or what it links to. Raises DataError where the system does not say."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise DataError(_not_readable(error)) from error
    return "link to nothing" if entry.is_symlink() else "pipe or device"


def is_passed_over(name: str) -> bool:
    """Whether a folder of this name is hidden, or one that programs make for themselves."""
    return name.startswith(".") or name.lower() in _TOOL_FOLDERS


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - a Path for each of a million names takes seconds


def _walk(folder: Path, above: tuple[str, ...], listing: Listing, *, outermost: bool) -> None:
    real = os.path.realpath(folder)
    if real in above:
        return
    above = (*above, real)
    for entry in entries_of(folder):
        if entry.name.startswith("."):
            listing.hidden += 1
            continue
        path, kind = folder / entry.name, kind_of(entry)
        if kind == "folder":
            if is_passed_over(entry.name):
                listing.pass_over(f"{printable(entry.name)} folder", path)
                continue
            if outermost:
                listing.folders.append(path)
            if entry.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(listing.root)):
                listing.leading_out.append(path)
            _walk(path, above, listing, outermost=False)
        elif is_image(entry.name) and kind != "pipe or device":
            listing.images.append(path)  # a link to nothing too: it is counted as corrupt when it is read
        elif kind == "link to nothing" and outermost and not path.suffix:
            raise DataError(
                f"{printable(path)} is a link to nothing ({printable(path.readlink())}): a class folder may be missing, or a "
                "disk not mounted. Mend the link, or remove it."
            )
        elif entry.name.lower() not in _TOOL_FILES:
            listing.pass_over(_suffix(path) if kind == "file" else kind, path)


def _suffix(path: Path) -> str:
    """`.npy`; `.jpg.bak` where an image's suffix comes before; `without a suffix`."""
    before = os.path.splitext(path.stem)[1]  # noqa: PTH122 - of a name, not of a path
    doubled = before if before.lower() in SUFFIXES else ""
    return printable(f"{doubled}{path.suffix}".lower(), 20) or "without a suffix"


def _not_readable(error: OSError) -> str:
    return (
        f"A folder of the data cannot be read: {reason(error)}. Check that it may be listed and entered, and that its disk is "
        "mounted; or move it out of the data."
    )
