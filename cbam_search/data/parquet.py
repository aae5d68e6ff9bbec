"""Local parquet files in the layout of the Hugging Face hub, read in place without a second copy on disk."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cbam_search.data.columns import Columns, find_columns, image_items
from cbam_search.data.config import DatasetConfig
from cbam_search.data.source import IntArray, Item, Source, SourceSplit
from cbam_search.errors import DataError

_BATCH_ROWS = 256


def open_parquet(config: DatasetConfig) -> Source:
    """Read labels and groups of the config's parquet files; images are read later, row group by row group.

    Class names come from the files' `huggingface` metadata where it is there. Raises DataError for files that are
    missing or no parquet, and for columns that cannot be told.
    """
    found = {split: files for split in ("train", "validation", "test") if (files := _files(config, split))}
    try:
        schema = pq.read_schema(found["train"][0])
        columns = find_columns(schema, _features(schema), config)
        splits = {split: _split(files, columns) for split, files in found.items()}
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"A parquet file cannot be read: {error}") from error
    return Source(splits=splits, identity=_identity(found), label_names=columns.label_names)


def _files(config: DatasetConfig, split: Literal["train", "validation", "test"]) -> list[Path]:
    files: list[Path] = []
    for pattern in config.files(split):
        matches = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not matches:
            raise DataError(f"dataset.{split}: no file matches '{pattern}'.")
        files += map(Path, matches)
    return files


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _split(files: list[Path], columns: Columns) -> SourceSplit:
    tables = []
    for file in files:
        missing = {columns.image, *columns.without_images} - set(pq.read_schema(file).names)
        if missing:
            raise DataError(f"{file} has no column {', '.join(sorted(missing))}, which the first training file has.")
        tables.append(pq.read_table(file, columns=columns.without_images))
    joined = {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in columns.without_images}
    return SourceSplit(
        labels=joined[columns.label],
        groups=joined[columns.group] if columns.group else None,
        read=partial(_read, files, columns.image),
    )


def _read(files: list[Path], image_column: str, rows: IntArray) -> Iterator[Item | None]:
    first_row = 0
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                n_rows = parquet.metadata.row_group(group).num_rows
                wanted = _between(rows, first_row, n_rows)
                first_row += n_rows
                if not len(wanted):
                    continue
                first_of_batch = 0
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[image_column]):
                    chosen = batch.column(0).take(pa.array(_between(wanted, first_of_batch, len(batch))))
                    first_of_batch += len(batch)
                    yield from image_items(chosen, file.parent)


def _between(rows: IntArray, first: int, count: int) -> IntArray:
    """Those of the ascending rows that lie in first..first + count - 1, counted from `first`."""
    low, high = np.searchsorted(rows, [first, first + count])
    return rows[low:high] - first


def _identity(found: Mapping[str, list[Path]]) -> str:
    hasher = hashlib.sha256()
    for split, files in found.items():
        for file in files:
            status = file.stat()
            hasher.update(f"{split}\0{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return hasher.hexdigest()
