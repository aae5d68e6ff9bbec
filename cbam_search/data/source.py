"""What every image source offers: labelled splits whose images are read row by row, not yet decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from cbam_search.data.split_names import SPLIT_NAMES, split_meaning
from cbam_search.errors import DataError
from cbam_search.safe_text import printable

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NoImage:
    """What a source has where an image should be, and why that is none."""

    why: str


Item = bytes | Path | npt.NDArray[Any] | NoImage
"""One image: an encoded file, the path of one, or pixels (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8 or uint16."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class SourceSplit:
    """One split as the source has it.

    labels: (N,) as found: integers, floats, strings; negative, NaN, None and "" are missing.
    groups: (N,) of any values, or None. read(rows): the items of ascending rows, in order; None is an absent image. It raises
    DataError where the rest cannot be read. name(row): where a reader finds an image that has no path of its own.
    """

    labels: npt.NDArray[Any]
    groups: npt.NDArray[Any] | None
    read: Callable[[IntArray], Iterator[Item | None]]
    name: Callable[[int], str] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Source:
    """splits: by "train", "validation", "test", the first always there. identity: changes when the files do."""

    splits: Mapping[str, SourceSplit]
    identity: str
    label_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def recognise_splits(found: Mapping[str, _T]) -> tuple[dict[str, _T], tuple[str, ...]]:
    """Splits by their usual names, and what was ignored. A single split of any name is the training split.

    Raises DataError where two splits have one meaning ("val" and "valid") or none is for training.
    """
    if len(found) == 1:
        ((name, split),) = found.items()
        note = f"The source's only split, '{printable(name)}', is used as the training split."
        return {"train": split}, () if SPLIT_NAMES.get(name) == "train" else (note,)
    splits: dict[str, _T] = {}
    for name, split in found.items():
        meaning = SPLIT_NAMES.get(name.lower())
        if meaning in splits:
            raise DataError(f"The source has two splits that mean '{meaning}': {', '.join(found)}. Leave one of them out.")
        if meaning:
            splits[meaning] = split
    if "train" not in splits:
        raise DataError(f"The source has no training split; its splits are: {', '.join(found) or 'none'}.")
    ignored = [name for name in found if name.lower() not in SPLIT_NAMES]
    notes = [f"Splits left unused: {', '.join(map(printable, ignored))}."] if ignored else []
    notes += [
        f"The split {printable(name)} looks like one for {meaning}: named {meaning}, it is used as such."
        for name in ignored
        if (meaning := split_meaning(name)) and meaning not in splits
    ]
    return splits, tuple(notes)
