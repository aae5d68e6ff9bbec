"""MLflow's store in a SQLite file: its address whatever its folder is called, and its artifacts when the folder has moved.

MLflow keeps the place of artifacts as an absolute path, which it reads as a URL's: `%20` in a folder's name becomes a blank.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cbam_search.durable import put_once
from cbam_search.records.project import Project

_ARTIFACTS = "mlruns"
_MEANS_SOMETHING_IN_A_URL = re.compile(r"[%?#]")


def database_of(uri: str) -> Path | None:
    """The SQLite file of a tracking URI; None for any other store."""
    if not uri.startswith("sqlite"):
        return None
    try:
        url = make_url(uri)
    except ArgumentError:
        return None
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:" or url.query:
        return None
    return Path(url.database).absolute()


def make_whole(database: Path) -> None:
    """Make MLflow's tables where there is no database, in one step.

    MLflow itself makes them one by one. Cut off in between, as by a signal, it leaves a file that it can never use again.
    """
    if database.exists():
        return
    from mlflow.store.db.utils import _initialize_tables

    database.parent.mkdir(parents=True, exist_ok=True)
    part = database.with_name(f".{database.name}.{os.urandom(8).hex()}")
    try:
        engine = create_engine(URL.create("sqlite", database=str(part)))
        try:
            _initialize_tables(engine)  # type: ignore[no-untyped-call]
        finally:
            engine.dispose()
        put_once(part, database)
    finally:
        part.unlink(missing_ok=True)


def moved(uri: str, project: Project | None) -> str:
    """The same tracking URI where the project is now, as MLflow reads it; that of any other store stays as it is."""
    database = database_of(uri)
    if database is None:
        return uri
    place = Path(project.path(str(database))) if project else database
    url = URL.create("sqlite", database=str(place)).render_as_string()
    if unquote(url) == url:
        return url
    # In this spelling MLflow makes no folder of its own, which would be called as the URL is: `a%20b` for `a b`.
    place.parent.mkdir(parents=True, exist_ok=True)
    return url.replace("sqlite:", "sqlite+pysqlite:", 1)


def artifact_location(folder: Path) -> str:
    """What MLflow is to be given for this folder: a URI where it would take a character of the path for a URL's."""
    return folder.as_uri() if _MEANS_SOMETHING_IN_A_URL.search(str(folder)) else str(folder)


def new_location() -> str | None:
    """Where a new experiment keeps its artifacts; None leaves it to MLflow, which makes `mlruns` here."""
    here = Path(_ARTIFACTS).absolute()
    if not _MEANS_SOMETHING_IN_A_URL.search(str(here)):
        return None
    return artifact_location(here / os.urandom(8).hex())


def bring_artifacts_along(database: Path, experiment_id: str, location: str) -> str:
    """Where the experiment's artifacts are; rewritten in the database, and in its runs, where they moved together with it.

    location: as the database has it. The artifacts count as moved where they are beside the database, and the folder that they
    were in is gone or holds the database that this one is a copy of. Nothing is made in the old place.
    """
    old = _local_path(location)
    if old is None or old.parent.name != _ARTIFACTS:
        return location
    new = database.parent / _ARTIFACTS / old.name
    was_copied = (old.parent.parent / database.name).is_file() or not old.is_dir()
    if new == old or not (not old.parent.parent.is_dir() or (new.is_dir() and was_copied)):
        return location
    leads_to = artifact_location(new)
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (leads_to, int(experiment_id))
        )
        connection.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
            "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
            (leads_to, len(location) + 1, int(experiment_id), len(location) + 1, f"{location}/"),
        )
    return leads_to


def _local_path(location: str) -> Path | None:
    """As MLflow would read it; None for one on a server or in a bucket."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    return Path(unquote(location)) if location.startswith("/") else None
