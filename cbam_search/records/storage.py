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
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from cbam_search.errors import RecordsError, UserError
from cbam_search.records.bounded_connection import bounded
from cbam_search.records.folder import StudyFolder
from cbam_search.records.patience import PatientStorage
from cbam_search.safe_text import HIDDEN, printable, without_secrets
from cbam_search.variables import VARIABLE, required, with_known_variables, with_variables

LOCKED_SECONDS_AT_MOST = 10.0
_SETTING = "records.storage"
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
        return _server(resolved)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"records.storage {redacted(url)} cannot be opened: {_why(error, url)}") from None


def require_server(url: str | None) -> None:
    """Return once a database that is a server has let us in; nothing to do for SQLite. Raises UserError within 20 s."""
    if url is None:
        return
    try:
        resolved = make_url(_resolve_variables(url))
        if resolved.get_backend_name() == "sqlite":
            return
        engine = create_engine(resolved, **bounded(resolved))
        try:
            engine.connect().close()
        finally:
            engine.dispose()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"records.storage {redacted(url)} cannot be opened: {_why(error, url)}") from None


@contextmanager
def storage_errors(where: object = "") -> Iterator[None]:
    """Raise RecordsError where the storage of trials fails in a study that runs: a full disk, a database that is gone.

    where: it is, for the message.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise RecordsError(
            f"the study's storage of trials{f' ({where})' if where else ''} cannot be written: {_why(error, None)}"
        ) from error


def storage_name(url: str | None, folder: StudyFolder) -> str:
    """Where the trials of a study are, for messages."""
    return str(folder.database) if url is None else redacted(url)


def redacted(url: str) -> str:
    """The URL with its password hidden, fit for logs and files."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except Exception:
        return "(not a URL)"


def _why(error: Exception, url: str | None) -> str:
    """Why a database does not do as it is asked: its own first line, without what was to be written, and without secrets."""
    if isinstance(error, ImportError):
        return f"the package {error.name} is not installed"
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    original = getattr(cause, "orig", None)
    if original is None:
        return type(cause).__name__
    lines = [line.strip() for line in str(original).splitlines() if line.strip()] or [type(original).__name__]
    words = printable(lines[0], 300)
    for secret in _passwords(url):
        words = words.replace(secret, HIDDEN)
    return without_secrets(_IN_OTHER_WORDS.get(words, words))


_IN_OTHER_WORDS = {
    "database or disk is full": "No space left on device",
    "database is locked": "another program has locked the database",
}


def _passwords(url: str | None) -> list[str]:
    """As it is, and as it stands in a URL."""
    try:
        password = make_url(with_known_variables(url or "")).password
    except SQLAlchemyError:
        return []
    return [str(password), quote(str(password), safe="")] if password else []


def _server(url: URL) -> RDBStorage:
    text = url.render_as_string(hide_password=False)
    return PatientStorage(text, engine_kwargs={"pool_pre_ping": True, **bounded(url)})


def _sqlite(url: str) -> RDBStorage:
    storage = PatientStorage(url, engine_kwargs={"connect_args": {"timeout": LOCKED_SECONDS_AT_MOST}})
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
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return url
    return url.set(database=str(Path(folder.read_manifest().yaml_folder) / url.database))
