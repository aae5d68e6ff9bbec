"""Why a database does not do as it is asked, in words that hold no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from cbam_search.errors import RecordsError
from cbam_search.safe_text import HIDDEN, printable, reason, without_secrets
from cbam_search.variables import with_known_variables

_IN_OTHER_WORDS = {
    "database or disk is full": "No space left on device",
    "database is locked": "another program has locked the database",
}


@contextmanager
def storage_errors(where: object = "") -> Iterator[None]:
    """Raise RecordsError where the storage of trials fails in a study that runs: a full disk, a database that is gone.

    where: it is, for the message.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        place = f" ({where})" if where else ""
        raise RecordsError(f"the study's storage of trials{place} cannot be written: {database_reason(error)}") from error


def database_reason(error: Exception, url: str | None = None) -> str:
    """The database's own first line, without what was to be written. url: its password is hidden too."""
    if isinstance(error, ImportError):
        return f"the package {error.name} is not installed"
    if isinstance(error, UnicodeEncodeError):
        return "rename the folder, whose name is not UTF-8"
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    if not isinstance(cause, SQLAlchemyError):
        return reason(cause)
    original = getattr(cause, "orig", None)
    if original is None:
        return type(cause).__name__
    lines = [line.strip() for line in str(original).splitlines() if line.strip()] or [type(original).__name__]
    words = printable(lines[0], 300)
    for secret in _passwords(url):
        words = words.replace(secret, HIDDEN)
    return without_secrets(_IN_OTHER_WORDS.get(words, words))


def _passwords(url: str | None) -> list[str]:
    """As it is, and as it stands in a URL."""
    try:
        password = make_url(with_known_variables(url or "")).password
    except SQLAlchemyError:
        return []
    return [str(password), quote(str(password), safe="")] if password else []
