"""One local parquet file, read in small pieces; whatever fails names the file, and the row group where it is known."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cbam_search.errors import DataError
from cbam_search.safe_text import printable, reason
from cbam_search.variables import brace_hint

_BATCH_ROWS = 256
_BATCH_BYTES = 2**24
_BUFFER_BYTES = 2**20  # else pyarrow reads a whole row group of encoded images at once


@dataclass(frozen=True)
class ParquetFile:
    """stamp: size in bytes and time of the last change when it was opened; reading refuses a file that has another since.

    row_groups: (number, first row, rows) of each.
    """

    path: Path
    stamp: tuple[int, int]
    schema: pa.Schema
    row_groups: tuple[tuple[int, int, int], ...]

    @classmethod
    def opened(cls, path: Path) -> ParquetFile:
        """Read schema and row groups; raises DataError for what is no parquet file or may not be read."""
        with _in_words(path):
            stamp = _stamp(path)
            with _open(path) as parquet:
                metadata = parquet.metadata
                counts = [metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
                firsts = [0, *accumulate(counts)]
                groups = tuple((group, firsts[group], count) for group, count in enumerate(counts))
                return cls(path, stamp, parquet.schema_arrow, groups)

    def __str__(self) -> str:
        return printable(self.path, limit=1000)

    @property
    def n_rows(self) -> int:
        return sum(count for _, _, count in self.row_groups)

    def table(self, columns: list[str]) -> pa.Table:
        """These columns of all rows; raises DataError."""
        with _in_words(self.path), _open(self.path) as parquet:
            return parquet.read(columns)

    def batches(self, group: int, column: str) -> Iterator[pa.Array]:
        """All values of one column of a row group, in batches of few megabytes; raises DataError."""
        _, first, n_rows = self.row_groups[group]
        rows = f"row group {group} (rows {first} to {first + n_rows - 1})"
        with _in_words(self.path, rows):
            if _stamp(self.path) != self.stamp:
                raise DataError(f"{self} was changed while it was being read. Start again when it is complete.")
            with _open(self.path) as parquet:
                left = n_rows
                batch_rows = _batch_rows(parquet.metadata.row_group(group), column)
                for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=[column]):
                    left -= len(batch)
                    yield batch.column(0)
                if left:
                    raise OSError(f"{left} rows are missing")


def matching_files(pattern: str, key: str) -> list[Path]:
    """The file of that name, or the files that match it as a pattern. key: for the DataError where there are none."""
    if os.path.lexists(pattern):
        return [Path(pattern)]
    if found := sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207
        return [Path(path) for path in found]
    raise DataError(
        f"{key}: no file matches '{printable(pattern, limit=1000)}'{_unreadable_folder(pattern)}.{brace_hint(pattern)}"
    )


def _unreadable_folder(pattern: str) -> str:
    """The folder that may not be listed, if that is why nothing matches."""
    folder = Path(pattern)
    while glob.has_magic(str(folder)) or not os.path.lexists(folder):
        if folder == folder.parent:
            return ""
        folder = folder.parent
    try:
        with os.scandir(folder):
            return "" if not folder.is_dir() or os.access(folder, os.X_OK) else f": {printable(folder)} may not be read"
    except OSError as error:
        return f": {reason(error)}"


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise DataError(
            f"{printable(path, limit=1000)} is a folder; its files are named by a pattern such as {path.name}/*.parquet."
        )
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{printable(path, limit=1000)} is no ordinary file.")
    if status.st_size == 0:
        raise DataError(f"{printable(path, limit=1000)} is empty.")
    return status.st_size, status.st_mtime_ns


@contextmanager
def _open(path: Path) -> Iterator[pq.ParquetFile]:
    # By bytes: pyarrow takes no name that is not UTF-8 otherwise.
    with (
        pa.OSFile(os.fsencode(path)) as file,
        pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True) as parquet,
    ):
        yield parquet


def _batch_rows(metadata: pq.RowGroupMetaData, column: str) -> int:
    sizes = [metadata.column(place) for place in range(metadata.num_columns)]
    n_bytes: int = sum(each.total_uncompressed_size for each in sizes if each.path_in_schema.split(".")[0] == column)
    rows: int = _BATCH_BYTES * metadata.num_rows // max(n_bytes, 1)
    return max(1, min(_BATCH_ROWS, rows))


@contextmanager
def _in_words(path: Path, part: str = "") -> Iterator[None]:
    where = f"{printable(path, limit=1000)}{', ' if part else ''}{part}"
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{where} cannot be read: it is not there.") from error
    except PermissionError as error:
        raise DataError(f"{where} cannot be read: you have no permission to.") from error
    except Exception as error:  # pyarrow raises all sorts at damaged files
        why = reason(error).rstrip(".")
        raise DataError(
            f"{where} cannot be read as parquet: {why}. Is it damaged, incomplete or of another format? Get it anew."
        ) from error
