"""Where the trials of a study are: the URL of `records.storage`, or the SQLite file beside the study."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cbam_search.errors import UserError
from cbam_search.records.folder import StudyFolder
from cbam_search.safe_text import printable, remember_secret, without_secrets
from cbam_search.variables import VARIABLE, required, with_variables

_SETTING = "records.storage"
_PASSWORD_VARIABLE = re.compile(rf"(?<=:){VARIABLE.pattern}(?=@)")


def server_url(url: str) -> URL | None:
    """Of a database that is a server; None for SQLite. Raises UserError, and SQLAlchemy's ArgumentError."""
    resolved = make_url(resolve_variables(url))
    return None if resolved.get_backend_name() == "sqlite" else resolved


def require_sqlite_folder(url: str | None, yaml_folder: Path) -> None:
    """Raise UserError where a new study's SQLite file would lie in a folder that is not there."""
    try:
        if url is None or server_url(url) is not None:
            return
    except ArgumentError:
        return  # told when it is opened
    resolved = make_url(resolve_variables(url))
    if _names_file(resolved) and not (folder := (yaml_folder / str(resolved.database)).parent).is_dir():
        raise UserError(f"{_SETTING}: there is no folder {printable(folder, 1000)} for the database. Make it first")


def sqlite_url(url: str | None, folder: StudyFolder) -> URL:
    """Of a SQLite storage; a relative file starts at the YAML's folder."""
    if url is None:
        return URL.create("sqlite", database=str(folder.database.absolute()))
    resolved = make_url(resolve_variables(url))
    return _beside_yaml(resolved, folder) if _names_file(resolved) else resolved


def sqlite_file(url: str | None, folder: StudyFolder) -> Path | None:
    """The file of a SQLite storage; None for another one."""
    if url is None:
        return folder.database
    try:
        if server_url(url) is not None:
            return None
    except ArgumentError:
        return None
    resolved = sqlite_url(url, folder)
    return Path(str(resolved.database)) if _names_file(resolved) else None


def storage_name(url: str | None, folder: StudyFolder) -> str:
    """Where the trials of a study are, for messages."""
    return printable(folder.database, 1000) if url is None else shown(url)


def shown(url: str) -> str:
    """The URL, fit for messages."""
    return printable(without_secrets(url), 1000)


def resolve_variables(url: str) -> str:
    """`url` with ${NAME} replaced; a password may hold any character. Raises UserError."""
    url = _PASSWORD_VARIABLE.sub(lambda match: quote(_secret(match[1]), safe=""), url)
    return with_variables(url, _SETTING)


def _secret(name: str) -> str:
    value = required(name, _SETTING)
    remember_secret(value)
    return value


def _beside_yaml(url: URL, folder: StudyFolder) -> URL:
    """The same file wherever a command is typed; raises UserError where a study that has begun finds it no more."""
    project = folder.project()
    database = Path(project.path(str(project.yaml_folder / str(url.database))))
    if folder.ledger.exists() and not database.exists():
        raise UserError(
            f"the study's trials are not where records.storage says: there is no {printable(database, 1000)}. Put it there, or "
            f"write its place under records.storage in {printable(folder.given_yaml, 1000)}"
        )
    return url.set(database=str(database))


def _names_file(url: URL) -> bool:
    return bool(url.database) and url.database != ":memory:" and not str(url.database).startswith("file:")
