"""What is said of an error that nobody foresaw: a sentence, and a file with the rest."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cbam_search.cache_folder import cache_folder
from cbam_search.cli.versions import versions_text
from cbam_search.errors import UserError
from cbam_search.safe_text import reason, without_secrets

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def told(error: BaseException) -> str:
    """What went wrong and whose fault it may be, on one line, and the file that holds the traceback, without secrets.

    Where no file can be written, the traceback follows on further lines.
    """
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = "the disk" if error.filename else "the disk, or what the output goes to,"
        return f"{where} is full: {reason(error)}. Make room, then try again"
    details = without_secrets(_details(error))
    file = _written(details)
    return f"{_sentence(error)}. For a report of it: {file}" if file else f"{_sentence(error)}\n{details}"


def _sentence(error: BaseException) -> str:
    match error:
        case MemoryError():
            return "the memory of this machine is not enough for that"
        case RecursionError():
            return "something is nested too deeply to be read"
        case ImportError() | OSError(errno=None):  # the latter: a shared library, such as libcudart, that torch looks for
            return (
                f"a library cannot be loaded: {reason(error)}. This installation is incomplete, or not made for this machine: "
                f"install cbam-search again in a new environment"
            )
        case OSError():
            return f"the system refused what cbam-search needs: {reason(error)}"
        case _:
            said = reason(error).rstrip(".")
            return f"{type(error).__name__}: {said}. This is a fault of cbam-search or of the machine, not yours"


def _details(error: BaseException) -> str:
    return "\n".join([versions_text(), shlex.join(sys.argv), "", *traceback.format_exception(error)])


def _written(text: str) -> Path | None:
    """The file, which its owner alone may read; None where there is no place for one."""
    for folder in _folders():
        try:
            descriptor, name = tempfile.mkstemp(prefix="cbam-search-error-", suffix=".txt", dir=folder)
        except OSError:
            continue
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:
            Path(name).unlink(missing_ok=True)
            continue
        return Path(name)
    return None


def _folders() -> Iterator[Path]:
    """Where it may lie, each made if need be."""
    with suppress(OSError):  # no temporary folder can be written
        yield Path(tempfile.gettempdir())
    with suppress(OSError, UserError):
        folder = cache_folder("errors")
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
