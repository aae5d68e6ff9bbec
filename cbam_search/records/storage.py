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
from sqlalchemy.exc import SQLAlchemyError

from cbam_search.errors import RecordsError, UserError
from cbam_search.records.folder import StudyFolder
from cbam_search.safe_text import printable, remember_secret, without_secrets
from cbam_search.variables import VARIABLE, required, with_variables

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
    try:
        if url is None:
            return _sqlite(URL.create("sqlite", database=str(folder.database.absolute())))
        resolved = make_url(_resolve_variables(url))
        if resolved.get_backend_name() == "sqlite":
            return _sqlite(_beside_yaml(resolved, folder))
        return RDBStorage(resolved.render_as_string(hide_password=False), engine_kwargs={"pool_pre_ping": True})
    except UserError:
        raise
    except Exception as error:
        # The error's own words may hold the password.
        why = f"the package {error.name} is not installed" if isinstance(error, ImportError) else type(error).__name__
        why = "rename the folder, whose name is not UTF-8" if isinstance(error, UnicodeEncodeError) else why
        which = printable(without_secrets(url)) if url else f"of this study, {printable(folder.database)},"
        raise UserError(f"records.storage {which} cannot be opened: {why}") from None


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise RecordsError where the storage of trials fails in a study that runs: a full disk, a database that is gone."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
        # What was to be written, and the address with its password, stand in the error's own words.
        why = str(getattr(reason, "orig", None) or type(reason).__name__).partition("\n")[0]
        raise RecordsError(f"the study's storage of trials cannot be written: {why}") from error


def _sqlite(url: URL) -> RDBStorage:
    # Rendered, every character of the path that means something in a URL is quoted.
    storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs={"connect_args": {"timeout": 60}})
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
    url = _PASSWORD_VARIABLE.sub(lambda match: quote(_secret(match[1]), safe=""), url)
    return with_variables(url, _SETTING)


def _secret(name: str) -> str:
    value = required(name, _SETTING)
    remember_secret(value)
    return value


def _beside_yaml(url: URL, folder: StudyFolder) -> URL:
    """The same file wherever a command is typed."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return url
    project = folder.project()
    database = Path(project.path(str(project.yaml_folder / url.database)))
    if folder.ledger.exists() and not database.exists():
        raise UserError(
            f"the study's trials are not where records.storage says: there is no {printable(database, 1000)}. Put it there, or "
            f"write its place under records.storage in {printable(folder.given_yaml, 1000)}"
        )
    return url.set(database=str(database))
