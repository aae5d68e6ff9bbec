"""The Optuna storage: SQLite beside the study unless the YAML names another."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from cbam_search.errors import CbamSearchError, RecordsError, UserError
from cbam_search.records.damage import unreadable
from cbam_search.records.folder import StudyFolder
from cbam_search.records.sqlite_reading import read_only
from cbam_search.safe_text import reason
from cbam_search.variables import VARIABLE, required, with_variables

_SETTING = "records.storage"
_PUT_BACK = "Put back a copy of it"
_PASSWORD_VARIABLE = re.compile(rf"(?<=:){VARIABLE.pattern}(?=@)")


class StudyStorage(_CachedStorage):
    """Optuna's cache over a database, filled only when someone asks for trials that have ended.

    Of the samplers here those are tpe, nsga2, nsga3 and gp. Who asks for running or waiting trials alone, as every proposal
    does, gets them from the database. To read thousands of ended ones takes most of the time that a study needs to open.
    """

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states is not None and not any(state in states for state in TrialState if state.is_finished()):
            return self._backend.get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return super().get_all_trials(study_id, deepcopy=deepcopy, states=states)


def open_storage(url: str | None, folder: StudyFolder) -> RDBStorage:
    """Open (and create where needed) the storage at `url`; a relative SQLite file starts at the YAML's folder.

    Raises UserError when the storage cannot be reached or opened.
    """
    if url is None:
        url = f"sqlite:///{folder.database.absolute()}"
    try:
        resolved = make_url(_resolve_variables(url))
        if resolved.get_backend_name() == "sqlite":
            return _sqlite(_beside_yaml(resolved, folder).render_as_string(hide_password=False))
        return RDBStorage(resolved.render_as_string(hide_password=False), engine_kwargs={"pool_pre_ping": True})
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, ImportError):
            why = f"the package {error.name} is not installed"
        elif url.startswith("sqlite"):
            why = _why(error)
        else:  # the error's own words may hold the password
            why = type(error).__name__
        raise UserError(f"records.storage {redacted(url)} cannot be opened: {why}") from None


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise RecordsError where the storage of trials fails in a study that runs: a full disk, a database that is gone."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise RecordsError(f"the study's storage of trials cannot be written: {_why(error)}") from error


@contextmanager
def storage_to_read(url: str | None, folder: StudyFolder) -> Iterator[RDBStorage | None]:
    """The storage at `url`, for who changes nothing in it; None where its SQLite file is not made yet.

    Also where nothing may be written. Raises RecordsError where the storage is damaged, UserError where it cannot be reached.
    """
    database = _sqlite_file(url, folder)
    if database is None:
        storage = open_storage(url, folder)
        try:
            yield storage
        finally:
            _close(storage)
        return
    try:
        if not database.exists() or not database.stat().st_size:
            yield None
            return
        with read_only(database) as connect:
            storage = RDBStorage("sqlite://", engine_kwargs={"creator": connect}, skip_table_creation=True)
            try:
                yield storage
            finally:
                _close(storage)
    except CbamSearchError:
        raise
    except OSError as error:
        raise unreadable(database, error, _PUT_BACK) from error
    except Exception as error:
        raise RecordsError(f"{database} cannot be read: {_why(error)}. {_PUT_BACK}") from error


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _sqlite_file(url: str | None, folder: StudyFolder) -> Path | None:
    """The file of a SQLite storage; None for another one."""
    if url is None:
        return folder.database
    try:
        resolved = make_url(_resolve_variables(url))
    except ArgumentError:
        return None
    if resolved.get_backend_name() != "sqlite" or not _names_file(resolved):
        return None
    return Path(_beside_yaml(resolved, folder).database or "")


def _why(error: Exception) -> str:
    """In the database's own words, without what was to be written and the address with its password."""
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    if isinstance(cause, SQLAlchemyError):
        return str(getattr(cause, "orig", None) or type(cause).__name__).partition("\n")[0]
    return reason(cause)


def redacted(url: str) -> str:
    """The URL with its password hidden, fit for logs and files."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except Exception:
        return "(not a URL)"


def _sqlite(url: str) -> RDBStorage:
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    event.listen(storage.engine, "connect", _write_ahead)
    storage.engine.dispose()
    return storage


def _write_ahead(connection: Any, _record: Any) -> None:
    """A proposal is dozens of small commits: write-ahead logging makes them four times faster, and survives a killed driver."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _resolve_variables(url: str) -> str:
    """`url` with ${NAME} replaced; a password may hold any character."""
    url = _PASSWORD_VARIABLE.sub(lambda match: quote(required(match[1], _SETTING), safe=""), url)
    return with_variables(url, _SETTING)


def _beside_yaml(url: URL, folder: StudyFolder) -> URL:
    """The same file wherever a command is typed."""
    if not _names_file(url):
        return url
    return url.set(database=str(Path(folder.read_manifest().yaml_folder) / str(url.database)))


def _names_file(url: URL) -> bool:
    """Whether a SQLite URL names a file by its path."""
    return bool(url.database) and url.database != ":memory:" and not str(url.database).startswith("file:")
