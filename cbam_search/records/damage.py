"""What is wrong with a damaged file, for the message that names it."""

from __future__ import annotations

from pydantic import ValidationError


def reason(error: Exception) -> str:
    """A few words for an error from reading a file: the field at fault and pydantic's sentence, or the system's words.

    The names of this package's own types, which pydantic's full text shows, are left out.
    """
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
