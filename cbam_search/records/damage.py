"""What is wrong with a file that is damaged or cannot be read, for the message that names it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from cbam_search.errors import RecordsError, UserError
from cbam_search.safe_text import printable, reason


def damage_in_words(error: Exception) -> str:
    """A few words for an error from reading a file: the field at fault and pydantic's sentence, or the system's words.

    The names of this package's own types, which pydantic's full text shows, are left out.
    """
    if not isinstance(error, ValidationError):
        return reason(error, with_file=False)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return printable(f"{where}: {first['msg']}" if where else first["msg"])


def unreadable(path: Path, error: Exception, mend: str) -> RecordsError | UserError:
    """What to raise where a file of a study cannot be read. mend: what to do, in a sentence, where it is damaged or gone."""
    if isinstance(error, PermissionError):
        return UserError(
            f"{path} may not be read: {damage_in_words(error)}. Read it as the user who made it, or let them allow it"
        )
    return RecordsError(f"{path} cannot be read: {damage_in_words(error)}. {mend}")
