"""Temporary folders: removed when their process is done with them, and at the next start where it was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cbam_search.records.process import process_here


@contextmanager
def scratch_folder(purpose: str, parent: Path | None = None) -> Iterator[Path]:
    """A new folder in `parent`, by default the system's temporary folder. Those of processes that were killed go too.

    Raises OSError where none can be made.
    """
    parent = parent or Path(tempfile.gettempdir())
    prefix = f"cbam-search-{purpose}-"
    for left in parent.glob(f"{prefix}*-*"):
        process = left.name.removeprefix(prefix).partition("-")[0]
        if process.isdecimal() and process_here(int(process)).is_gone:
            shutil.rmtree(left, ignore_errors=True)
    path = tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent)
    try:
        yield Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def file_in_memory() -> IO[bytes]:
    """A file without a name, for what a process writes that nobody needs to see; on a disk only where the system has no other.

    Raises OSError.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("cbam-search"), "w+b")
    return tempfile.TemporaryFile()
