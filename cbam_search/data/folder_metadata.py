"""A `metadata.csv` beside images: a column `file_name`, a path from its folder, and columns of labels and groups.

Mistakes are named by file and row, counted as a spreadsheet does: the header is row 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cbam_search.counted import counted
from cbam_search.data.folder_listing import METADATA
from cbam_search.data.wording import listed
from cbam_search.errors import DataError
from cbam_search.safe_text import printable, reason

_NAME = "file_name"
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_LABEL_NAMES = frozenset({"label", "labels", "class", "target", "category"})


@dataclass(frozen=True)
class Metadata:
    """rows: by file name, the values of the needed columns, in their order. row_number: of each, in the file."""

    path: Path
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    row_number: dict[str, int]

    def notes(self, images: Iterable[str], needed: Sequence[str]) -> Iterator[str]:
        """images: the names of all images in the folder. Raises DataError where no row names one of them."""
        if not needed:
            unused = [name for name in self.columns if name.strip().lower() in _LABEL_NAMES]
            if unused:
                yield (
                    f"{printable(self.path)} is not used: labels are the names of folders. Set dataset.label_column to take "
                    f"them from its column {printable(unused[0])}."
                )
            return
        present = set(images)
        stray = [name for name in self.rows if name not in present]
        if stray:
            first = f"the first, row {self.row_number[stray[0]]}, names {printable(stray[0])}"
            if len(stray) == len(self.rows):
                raise DataError(
                    f"{printable(self.path)}: no row names an image of this folder ({first}). {_NAME} is a path from the "
                    f"folder of {METADATA}, such as {printable(min(present))}, with / between folders."
                )
            yield f"{counted(len(stray), 'row')} of {printable(self.path)} name no image ({first})."
        unlisted = sorted(present - self.rows.keys())
        if unlisted:
            have = "image has" if len(unlisted) == 1 else "images have"
            yield f"{len(unlisted):,} {have} no row in {printable(self.path)} ({listed(unlisted)})."
        for place, column in enumerate(needed):
            empty = [self.row_number[name] for name, values in self.rows.items() if name in present and not values[place]]
            if empty:
                yield (
                    f"{counted(len(empty), 'row')} of {printable(self.path)} without a value of {printable(column)} (the "
                    f"first is row {empty[0]})."
                )


def read_metadata(folder: Path, needed: Sequence[str]) -> Metadata | None:
    """The `metadata.csv` of `folder`, or None where there is none. needed: the columns to take.

    Raises DataError for a file that cannot be read, for a missing column, and for rows that are short, too long or
    contradict each other.
    """
    path = folder / METADATA
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(path, csv.reader(file, strict=True), needed)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)}, row {_row_of(path, error)}: this is not UTF-8. Save the file as UTF-8.") from error
    except OSError as error:
        raise DataError(f"The labels of the data cannot be read: {reason(error)}. Check that you may read the file.") from error


def _read(path: Path, reader: Iterator[list[str]], needed: Sequence[str]) -> Metadata:
    rows: dict[str, tuple[str, ...]] = {}
    numbers: dict[str, int] = {}
    columns: list[str] | None = None
    number = 0
    try:
        for number, cells in enumerate(reader, start=1):
            where = f"{printable(path)}, row {number}"
            if columns is None:
                columns = cells
                places = [_place(path, columns, name) for name in (_NAME, *needed)] if needed else []
            elif not needed or not any(cell.strip() for cell in cells):
                continue
            elif any(cells[len(columns) :]) or len(cells) <= max(places):
                raise DataError(
                    f"{where} has {counted(len(cells), 'value')}, and there are {counted(len(columns), 'column')} "
                    f"({listed(columns, 6)}). Mend the row; a value with a comma inside needs quotes."
                )
            else:
                name, *values = (cells[place] for place in places)
                _refuse_contradiction(where, name, tuple(values), rows, numbers)
                rows[name], numbers[name] = tuple(values), number
    except csv.Error as error:
        raise DataError(f"{printable(path)}, row {number + 1}: this cannot be read as CSV: {reason(error)}.") from error
    if needed and not rows:
        raise DataError(f"{printable(path)} has no row that names an image. It needs columns {_NAME}, {listed(needed)}.")
    return Metadata(path, tuple(columns or ()), rows, numbers)


def _place(path: Path, columns: Sequence[str], wanted: str) -> int:
    places = [place for place, name in enumerate(columns) if name == wanted]
    if len(places) == 1:
        return places[0]
    if places:
        raise DataError(f"{printable(path)} has {len(places)} columns {printable(wanted)}: name them apart.")
    for separator, name in _SEPARATORS.items():
        if len(columns) == 1 and _NAME in columns[0].split(separator):
            raise DataError(f"{printable(path)} is separated by {name}: save it with commas.")
    shown = ", ".join(f"'{printable(name, 60)}'" for name in columns)
    raise DataError(f"{printable(path)} has no column '{printable(wanted)}'; its columns are: {shown}.")


def _refuse_contradiction(
    where: str, name: str, values: tuple[str, ...], rows: dict[str, tuple[str, ...]], numbers: dict[str, int]
) -> None:
    if rows.get(name, values) != values:
        raise DataError(
            f"{where} gives {printable(name)} {listed(values)}, but row {numbers[name]} gives it {listed(rows[name])}. Leave "
            "one of the rows out."
        )


def _row_of(path: Path, error: UnicodeDecodeError) -> int:
    """The decoder counts from the start of its own buffer, so the file is gone through anew."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1 + error.object[: error.start].count(b"\n")
