"""Storage URLs: no secret in plain sight, and clear words when one cannot be opened."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optuna.study import StudyDirection
from pydantic import ValidationError
from sqlalchemy import event
from sqlalchemy.engine import make_url
from studies import manifest_of, new_folder

from cbam_search.errors import RecordsError, UserError
from cbam_search.records.config import RecordsConfig
from cbam_search.records.storage import open_storage, storage_to_read
from cbam_search.records.storage_errors import storage_errors
from cbam_search.records.storage_url import resolve_variables


def test_sqlite_lies_beside_the_study_and_writes_ahead(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    storage = open_storage(None, folder)
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert folder.database.is_file()


def test_a_disk_that_is_full_is_said_in_a_sentence(tmp_path: Path) -> None:
    storage = open_storage(None, new_folder(tmp_path))
    event.listen(storage.engine, "connect", lambda connection, _record: connection.execute("PRAGMA max_page_count=1"))
    storage.engine.dispose()
    with pytest.raises(RecordsError) as caught, storage_errors():
        for number in range(100):
            storage.create_new_study([StudyDirection.MAXIMIZE], study_name=f"{number}" + "x" * 400)
    assert str(caught.value) == "the study's storage of trials cannot be written: No space left on device"


def test_another_sqlite_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", str(tmp_path))
    open_storage("sqlite:///${WHERE}/other.db", new_folder(tmp_path))
    assert (tmp_path / "other.db").is_file()


def test_a_relative_sqlite_is_the_same_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yaml_folder = tmp_path / "yaml"
    yaml_folder.mkdir()
    folder = new_folder(tmp_path, manifest_of().model_copy(update={"yaml_folder": str(yaml_folder)}))
    monkeypatch.chdir(tmp_path)
    open_storage("sqlite:///all.db", folder)
    assert (yaml_folder / "all.db").is_file()
    assert not Path("all.db").exists()


def test_a_sqlite_of_its_own_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    folder.ledger.touch()
    with pytest.raises(UserError, match=r"there is no .*other\.db\. .* records\.storage in .*space\.yaml"):
        open_storage(f"sqlite:///{tmp_path}/other.db", folder)
    assert not (tmp_path / "other.db").exists()


def test_a_password_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "p@ss/w:rd%")
    url = make_url(resolve_variables("postgresql://me:${PGPASSWORD}@host/db"))
    assert (url.password, url.host, url.database) == ("p@ss/w:rd%", "host", "db")


def test_a_database_that_is_none_is_the_readers_business(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    folder.database.write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="cannot be opened"):
        open_storage(None, folder)


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="CBAM_TEST_NO_SUCH_PASSWORD"):
        open_storage("postgresql://me:${CBAM_TEST_NO_SUCH_PASSWORD}@host/db", new_folder(tmp_path))


def test_an_unreachable_storage_is_the_readers_business_and_keeps_the_password(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened") as caught:
        open_storage("nosuchdialect://me:${HOME}@host/db", new_folder(tmp_path))
    assert str(Path.home()) not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host/db",
        "postgresql://me:se/cr@t@host/db",
        "postgresql://me:${X}tail@host/db",
        "postgresql://me@host/db?password=secret",
    ],
)
def test_a_plain_password_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="password in plain text"):
        RecordsConfig(storage=url)


def test_a_password_behind_a_variable_is_taken() -> None:
    assert RecordsConfig(storage="postgresql://me:${PGPASSWORD}@host/db").storage
    assert RecordsConfig(storage="postgresql://host/db").storage


def test_a_reader_makes_no_database(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    with storage_to_read(None, folder) as storage:
        assert storage is None
    assert not folder.database.exists()


def test_a_reader_sees_what_was_written(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    written = open_storage(None, folder)
    written.create_new_study([StudyDirection.MAXIMIZE], study_name="one")
    with storage_to_read(None, folder) as storage:
        assert storage is not None
        assert storage.get_study_id_from_name("one") == 1
        with pytest.raises(RecordsError, match="readonly"), storage_errors():
            storage.create_new_study([StudyDirection.MAXIMIZE], study_name="two")


@pytest.mark.parametrize("content", ["text", "another program's"])
def test_a_reader_is_told_what_is_wrong_with_a_damaged_database(tmp_path: Path, content: str) -> None:
    folder = new_folder(tmp_path)
    if content == "text":
        folder.database.write_bytes(b"no database" * 1000)
    else:
        with closing(sqlite3.connect(folder.database)) as connection:
            connection.execute("CREATE TABLE other (number)")
    why = "file is not a database" if content == "text" else "no such table"
    expected = f"{re.escape(str(folder.database))} cannot be read: {why}.*Put back a copy"
    with pytest.raises(RecordsError, match=expected), storage_to_read(None, folder):
        pass


@pytest.mark.parametrize("url", ["postgresql+nothing://me:hunter2@host/db", "nothing://me:hunter2@host/db", "://:hunter2@:::"])
def test_a_storage_that_cannot_be_opened_is_named_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened") as caught:
        open_storage(url, new_folder(tmp_path))
    assert "hunter2" not in str(caught.value)


FOLDER_NAME = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0") | st.sampled_from("%?#&=+:;@$[]{}*'\"\\ \n~-"),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@given(name=FOLDER_NAME)
@example(name="my%20project")
@example(name="really?")
@example(name="{SCHEMA_VERSION}")
@settings(deadline=None, max_examples=8)
def test_a_study_lies_in_its_own_folder_whatever_that_is_called(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("odd")
    place = root / name
    place.mkdir()
    folder = new_folder(place)
    storage = open_storage(None, folder)
    storage.create_new_study([StudyDirection.MAXIMIZE], study_name="study")
    storage.engine.dispose()
    assert folder.database.is_file()
    assert list(root.iterdir()) == [place]
