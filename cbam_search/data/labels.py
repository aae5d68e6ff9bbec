"""From labels as a source has them to classes 0..K-1 with names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from cbam_search.data.class_names import check_class_names, visible
from cbam_search.data.source import IntArray
from cbam_search.data.wording import listed
from cbam_search.errors import DataError
from cbam_search.safe_text import printable

MISSING = -1
_FEW_LABELS = 10


@dataclass(frozen=True)
class EncodedLabels:
    """labels: by split, (N,) int64 in 0..K-1, or -1 where missing."""

    labels: Mapping[str, IntArray]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def encode_labels(
    raw: Mapping[str, npt.NDArray[Any]],
    names: tuple[str, ...] | None,
    place: Callable[[str, int], str] = lambda split, row: f"{split} row {row}",
) -> EncodedLabels:
    """Number the classes densely, in the order of their values over all splits.

    raw: by split, (N,) integers, integral floats or decimals, or strings; negative, NaN, None and "" are missing.
    names: the name of integer label i at place i, where the source has names. A label that no image has gets no class.
    place: where a reader finds the label of a split and row.
    Raises DataError for a label that is not a whole number or a string, has no name, or is the only one; for words that differ
    invisibly, and for labels that number the images.
    """
    values = {split: _values(array, partial(place, split)) for split, array in raw.items()}
    counts = Counter(value for found in values.values() for value in found if value is not None)
    present = sorted(counts, key=_order)
    _refuse_no_classes(present, counts)
    integers = [value for value in present if isinstance(value, int)]
    if names is not None and integers and integers[-1] >= len(names):
        raise DataError(f"Label {integers[-1]} has no name: the source names labels 0 to {len(names) - 1} only.")
    number = {value: place for place, value in enumerate(present)}
    named = names if integers else None
    class_names = tuple(named[value] if named and isinstance(value, int) else str(value) for value in present)
    return EncodedLabels(
        labels={
            split: np.array([MISSING if value is None else number[value] for value in found], dtype=np.int64)
            for split, found in values.items()
        },
        class_names=class_names,
        notes=(
            *_gap_notes(integers, named),
            *(_same_names(class_names) if integers else check_class_names(class_names)),
            *_too_many(present, counts),
        ),
    )


def _refuse_no_classes(present: list[int | str], counts: Counter[int | str]) -> None:
    words = [value for value in present if isinstance(value, str)]
    if words and len(words) < len(present):
        numbers = [value for value in present if not isinstance(value, str)]
        raise DataError(
            f"Some labels are words ({listed(words)}) and others numbers ({listed(numbers)}). Give all of them one type."
        )
    if len(present) < 2:
        only = f"only class '{printable(present[0])}'" if present else "no label at all"
        raise DataError(f"The images have {only}; classification needs two classes or more.")
    if len(present) > _FEW_LABELS and max(counts.values()) == 1:
        raise DataError(
            f"Each of the {len(present):,} images has a label of its own ({listed(present)}): that is a number or a name of "
            "the image, not its class. Take another label column."
        )


def _same_names(names: tuple[str, ...]) -> Iterator[str]:
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        yield f"Several labels have one name ({listed(twice)}): they are learnt as classes of their own."


def _too_many(present: list[int | str], counts: Counter[int | str]) -> Iterator[str]:
    if len(present) > max(_FEW_LABELS, counts.total() // 2):
        yield f"{len(present):,} classes have fewer than two images each on average: are the labels names of images?"


def _order(value: int | str) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (0, value)


def _values(array: npt.NDArray[Any], place: Callable[[int], str]) -> list[int | str | None]:
    values: list[int | str | None] = []
    try:
        for value in array.tolist():
            values.append(_value(value))  # noqa: PERF401 - so that an error knows its row
    except DataError as error:
        raise DataError(f"{place(len(values))}: {error}") from None
    return values


def _value(value: object) -> int | str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value == "" or value != value:  # NaN alone differs from itself
        return None
    if isinstance(value, str):
        if not visible(value):
            raise DataError("its label consists of blanks alone. Give the image its class, or leave the label empty.")
        return value
    if isinstance(value, int) or (isinstance(value, float | Decimal) and isfinite(value) and value % 1 == 0):
        return int(value) if value >= 0 else None
    shown = value if isinstance(value, Decimal | date) else repr(value)
    raise DataError(
        f"its label is {printable(shown)}; labels are whole numbers from 0 on, or words. Name another label column?"
    )


def _gap_notes(integers: list[int], names: tuple[str, ...] | None) -> tuple[str, ...]:
    declared = len(names) if names is not None else (integers[-1] + 1 if integers else 0)
    gaps = sorted(set(range(declared)) - set(integers))
    if not gaps:
        return ()
    shown = ", ".join(printable(names[gap] if names is not None else gap) for gap in gaps[:5]) + (
        ", …" if len(gaps) > 5 else ""
    )
    return (f"{len(gaps)} of {declared} labels have no image ({shown}): the others were renumbered without gaps.",)
