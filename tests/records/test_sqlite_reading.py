"""Databases that are only read, also where nothing may be written."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from permissions import read_only as folder_read_only
from permissions import unprivileged

from cbam_search.records.sqlite_reading import read_only

READ = (
    "import sys; from pathlib import Path; from cbam_search.records.sqlite_reading import read_only\n"
    "with read_only(Path(sys.argv[1])) as connect:\n"
    "    connection = connect(); print(connection.execute('SELECT count(*) FROM rows').fetchone()[0]); connection.close()"
)


def _database(folder: Path, *, in_log: int) -> Path:
    """Three rows in the database itself, and `in_log` more in its write-ahead log alone."""
    working = folder / "working"
    working.mkdir()
    path = working / "of 100 %?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE rows (number)")
        connection.executemany("INSERT INTO rows VALUES (?)", [(number,) for number in range(3)])
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.executemany("INSERT INTO rows VALUES (?)", [(number,) for number in range(in_log)])
        connection.commit()
        kept = folder / "kept"
        kept.mkdir()
        for file in (path, path.with_name(f"{path.name}-wal")):
            if file.exists():
                shutil.copyfile(file, kept / file.name)
    return kept / path.name


@pytest.mark.parametrize("in_log", [0, 2])
def test_a_database_is_read_where_nothing_may_be_written(tmp_path: Path, in_log: int) -> None:
    database = _database(tmp_path, in_log=in_log)
    before = {path.name: path.read_bytes() for path in database.parent.iterdir()}
    with folder_read_only(database.parent):
        command = [*unprivileged(), sys.executable, "-c", READ, str(database)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(3 + in_log), done.stderr
    assert {path.name: path.read_bytes() for path in database.parent.iterdir()} == before


def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    database = _database(tmp_path, in_log=2)
    with (
        read_only(database) as connect,
        closing(connect()) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM rows")


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError), read_only(tmp_path / "text.db"):
        pass
    with pytest.raises(FileNotFoundError), read_only(tmp_path / "none.db"):
        pass
