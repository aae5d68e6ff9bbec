"""The Optuna storage: SQLite beside the study unless the YAML names another."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL

from cbam_search.errors import CbamSearchError, RecordsError, UserError
from cbam_search.records.bounded_connection import bounded
from cbam_search.records.damage import unreadable
from cbam_search.records.folder import StudyFolder
from cbam_search.records.patience import PatientStorage
from cbam_search.records.sqlite_reading import read_only
from cbam_search.records.storage_errors import database_reason
from cbam_search.records.storage_url import server_url, shown, sqlite_file, sqlite_url, storage_name

LOCKED_SECONDS_AT_MOST = 10.0
_PUT_BACK = "Put back a copy of it"


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
    with _opening(url, storage_name(url, folder)):
        server = server_url(url) if url else None
        return _sqlite(sqlite_url(url, folder)) if server is None else _server(server)


def require_server(url: str | None) -> None:
    """Return once a database that is a server has let us in; nothing to do for SQLite. Raises UserError within 20 s."""
    if url is None:
        return
    with _opening(url, shown(url)):
        server = server_url(url)
        if server is None:
            return
        engine = create_engine(server, **bounded(server))
        try:
            engine.connect().close()
        finally:
            engine.dispose()


@contextmanager
def storage_to_read(url: str | None, folder: StudyFolder) -> Iterator[RDBStorage | None]:
    """The storage at `url`, only to be read, also where nothing may be written; None where its SQLite file is not made yet.

    Raises RecordsError where the storage is damaged, UserError where it cannot be reached.
    """
    database = sqlite_file(url, folder)
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
        raise RecordsError(f"{database} cannot be read: {database_reason(error)}. {_PUT_BACK}") from error


@contextmanager
def _opening(url: str | None, name: str) -> Iterator[None]:
    try:
        yield
    except CbamSearchError:
        raise
    except Exception as error:
        raise UserError(f"records.storage {name} cannot be opened: {database_reason(error, url)}") from None


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _server(url: URL) -> RDBStorage:
    text = url.render_as_string(hide_password=False)
    return PatientStorage(text, engine_kwargs={"pool_pre_ping": True, **bounded(url)})


def _sqlite(url: URL) -> RDBStorage:
    # Rendered, every character of the path that means something in a URL is quoted.
    text = url.render_as_string(hide_password=False)
    storage = PatientStorage(text, engine_kwargs={"connect_args": {"timeout": LOCKED_SECONDS_AT_MOST}})
    event.listen(storage.engine, "connect", _write_ahead)
    storage.engine.dispose()
    return storage


def _write_ahead(connection: Any, _record: Any) -> None:
    """A proposal is dozens of small commits: write-ahead logging makes them four times faster, and survives a killed driver."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
