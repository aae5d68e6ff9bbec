"""A SQLite database that is only read: also where nothing may be written, as in another user's study.

SQLite itself wants to write beside a database that is in write-ahead mode, if only an index of its log.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

Connect = Callable[[], sqlite3.Connection]
_COPIES = 3
"""Tries to copy a database between two of its writer's changes."""


@contextmanager
def read_only(database: Path) -> Iterator[Connect]:
    """A function that opens connections to the database; none of them changes it or leaves files beside it.

    It may be written meanwhile. Where SQLite cannot follow that without writing itself, a copy is read, as it is now. Raises
    sqlite3.Error where the file is not a database, OSError where it is not there or may not be read.
    """
    with database.open("rb"):  # says better than SQLite why a file cannot be opened
        pass
    plain = _connect(database, "mode=ro")
    if _works(plain):
        yield plain
    elif not _log_of(database):
        yield _checked(_connect(database, "mode=ro&immutable=1"))
    else:
        with tempfile.TemporaryDirectory(prefix="cbam-search-") as folder:
            yield _checked(_connect(_copied(database, Path(folder)), "mode=rw"))


def _connect(database: Path, options: str) -> Connect:
    uri = f"{database.absolute().as_uri()}?{options}"
    return lambda: sqlite3.connect(uri, uri=True, timeout=60, check_same_thread=False)


def _works(connect: Connect) -> bool:
    try:
        _checked(connect)
    except sqlite3.OperationalError:  # SQLite may not make the files that it wants beside the database
        return False
    return True


def _checked(connect: Connect) -> Connect:
    """The same, once it has read something."""
    with closing(connect()) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connect


def _log_of(database: Path) -> list[Path]:
    """Its write-ahead log, where there is something in it."""
    log = database.with_name(f"{database.name}-wal")
    return [log] if log.is_file() and log.stat().st_size else []


def _copied(database: Path, folder: Path) -> Path:
    """The database and its log in `folder`, as they were at one moment."""
    for _ in range(_COPIES):
        files = [database, *_log_of(database)]
        before = _stamps(files)
        for file in files:
            shutil.copyfile(file, folder / file.name)
        if _stamps(files) == before:
            break
    return folder / database.name


def _stamps(files: list[Path]) -> list[tuple[int, int]]:
    stamps = []
    for file in files:
        with suppress(FileNotFoundError):  # the writer took its log in
            found = file.stat()
            stamps.append((found.st_size, found.st_mtime_ns))
    return stamps
