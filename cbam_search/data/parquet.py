"""Local parquet files in the layout of the Hugging Face hub, read in place without a second copy on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cbam_search.data.columns import Columns, check_types, find_columns, image_items
from cbam_search.data.config import PATTERN_KEYS, DatasetConfig
from cbam_search.data.parquet_file import ParquetFile, matching_files
from cbam_search.data.source import IntArray, Item, Source, SourceSplit
from cbam_search.errors import DataError


def open_parquet(config: DatasetConfig) -> Source:
    """Read labels and groups of the config's parquet files; images are read later, row group by row group.

    Class names come from the files' `huggingface` metadata where it is there. Raises DataError for files that are
    missing, unreadable or no parquet, and for columns that cannot be told.
    """
    found: dict[str, list[ParquetFile]] = {split: files for split in PATTERN_KEYS if (files := _files(config, split))}
    schema = found["train"][0].schema
    columns = find_columns(schema, _features(schema), config)
    return Source(
        splits={split: _split(split, files, columns) for split, files in found.items()},
        identity=_identity(found),
        label_names=columns.label_names,
    )


def _files(config: DatasetConfig, split: Literal["train", "validation", "test"]) -> list[ParquetFile]:
    return [ParquetFile.opened(path) for pattern in config.files(split) for path in matching_files(pattern, f"dataset.{split}")]


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _split(split: str, files: list[ParquetFile], columns: Columns) -> SourceSplit:
    for file in files:
        missing = {columns.image, *columns.without_images} - set(file.schema.names)
        if missing:
            raise DataError(f"{file} has no column {', '.join(sorted(missing))}, which the first training file has.")
        try:
            check_types(file.schema, columns)
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
    first_rows = [0, *accumulate(file.n_rows for file in files)]
    if first_rows[-1] == 0:
        raise DataError(f"dataset.{split}: {', '.join(map(str, files[:3]))} has no rows.")
    tables = [file.table(columns.without_images) for file in files]
    joined = {name: _joined(name, files, [table[name] for table in tables]) for name in columns.without_images}
    return SourceSplit(
        labels=joined[columns.label],
        groups=joined[columns.group] if columns.group else None,
        read=partial(_read, files, columns.image),
        name=partial(_name, files, first_rows),
    )


def _joined(name: str, files: list[ParquetFile], columns: list[pa.ChunkedArray]) -> npt.NDArray[Any]:
    """Raises DataError where one file has words and another has none."""
    with_values = [place for place, column in enumerate(columns) if len(column) > column.null_count]
    for place in with_values[1:]:
        first = with_values[0]
        if _has_words(columns[place]) != _has_words(columns[first]):
            raise DataError(
                f"Column '{name}' holds {columns[first].type} in {files[first]} and {columns[place].type} in {files[place]}. "
                "Give it one type in all files."
            )
    return np.concatenate([column.to_numpy() for column in columns])


def _has_words(column: pa.ChunkedArray) -> bool:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _read(files: list[ParquetFile], image_column: str, rows: IntArray) -> Iterator[Item | None]:
    first_row = 0
    for file in files:
        wanted = _between(rows, first_row, file.n_rows)
        first_row += file.n_rows
        for group, first_of_group, n_rows in file.row_groups:
            if not len(_between(wanted, first_of_group, n_rows)):
                continue
            first_of_batch = first_of_group
            for column in file.batches(group, image_column):
                chosen = column.take(pa.array(_between(wanted, first_of_batch, len(column))))
                first_of_batch += len(column)
                yield from image_items(chosen, file.path.parent)


def _name(files: list[ParquetFile], first_rows: Sequence[int], row: int) -> str:
    """Rows are counted from 0 in each file."""
    place = int(np.searchsorted(first_rows, row, side="right")) - 1
    return f"{files[place]} row {row - first_rows[place]}"


def _between(rows: IntArray, first: int, count: int) -> IntArray:
    """Those of the ascending rows that lie in first..first + count - 1, counted from `first`."""
    low, high = np.searchsorted(rows, [first, first + count])
    return rows[low:high] - first


def _identity(found: Mapping[str, list[ParquetFile]]) -> str:
    hasher = hashlib.sha256()
    for split, files in found.items():
        for file in files:
            size, changed_ns = file.stamp
            hasher.update(f"{split}\0{file.path}\0{size}\0{changed_ns}\n".encode(errors="surrogateescape"))
    return hasher.hexdigest()
