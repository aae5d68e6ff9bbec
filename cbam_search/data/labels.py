"""From labels as a source has them to classes 0..K-1 with names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cbam_search.data.source import IntArray
from cbam_search.errors import DataError

MISSING = -1


@dataclass(frozen=True)
class EncodedLabels:
    """labels: by split, (N,) int64 in 0..K-1, or -1 where missing."""

    labels: Mapping[str, IntArray]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def encode_labels(raw: Mapping[str, npt.NDArray[Any]], names: tuple[str, ...] | None) -> EncodedLabels:
    """Number the classes densely, in the order of their values over all splits.

    raw: by split, (N,) integers, integral floats or strings; negative, NaN, None and "" are missing.
    names: the name of integer label i at place i, where the source has names. A label that no image has gets no class.
    Raises DataError for a label that is not a whole number or a string, has no name, or is the only one.
    """
    values = {split: _values(array) for split, array in raw.items()}
    present = sorted({value for found in values.values() for value in found if value is not None}, key=_order)
    if len({isinstance(value, str) for value in present}) > 1:
        raise DataError("Some labels are words and others numbers. Give all of them one type.")
    if len(present) < 2:
        only = f"only class '{present[0]}'" if present else "no label at all"
        raise DataError(f"The images have {only}; classification needs two classes or more.")
    integers = [value for value in present if isinstance(value, int)]
    if names is not None and integers and integers[-1] >= len(names):
        raise DataError(f"Label {integers[-1]} has no name: the source names labels 0 to {len(names) - 1} only.")
    number = {value: place for place, value in enumerate(present)}
    named = names if integers else None
    return EncodedLabels(
        labels={
            split: np.array([MISSING if value is None else number[value] for value in found], dtype=np.int64)
            for split, found in values.items()
        },
        class_names=tuple(named[value] if named and isinstance(value, int) else str(value) for value in present),
        notes=_gap_notes(integers, named),
    )


def _order(value: int | str) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (0, value)


def _values(array: npt.NDArray[Any]) -> list[int | str | None]:
    return [_value(value) for value in array.tolist()]


def _value(value: object) -> int | str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value == "" or value != value:  # NaN alone differs from itself
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value) if value >= 0 else None
    raise DataError(f"A label is {value!r}; labels are whole numbers from 0 on, or words. Name another label column?")


def _gap_notes(integers: list[int], names: tuple[str, ...] | None) -> tuple[str, ...]:
    declared = len(names) if names is not None else (integers[-1] + 1 if integers else 0)
    gaps = sorted(set(range(declared)) - set(integers))
    if not gaps:
        return ()
    shown = ", ".join(names[gap] if names is not None else str(gap) for gap in gaps[:5]) + (", …" if len(gaps) > 5 else "")
    return (f"{len(gaps)} of {declared} labels have no image ({shown}): the others were renumbered without gaps.",)
