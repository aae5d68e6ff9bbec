"""Files that are whole or not there: atomic replacement, and appends that survive a crash."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to a temporary file beside `path`, force it to disk, and rename it into place."""
    with _temporary(path, content) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def write_once(path: Path, content: bytes | str) -> bool:
    """The same unless `path` is there already, which then stays as it is; returns whether it was written."""
    if path.exists():
        return False
    with _temporary(path, content) as temporary:
        return put_once(temporary, path)


def put_once(part: Path, path: Path) -> bool:
    """Put a file that is whole, `part`, in the place of `path` in the same folder, unless one is there; returns whether it was.

    Whether `part` is still there afterwards depends on the file system.
    """
    try:
        path.hardlink_to(part)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        part.replace(path)
    sync_folder(path.parent)
    return True


def replace_durably(part: Path, path: Path) -> None:
    """Put a file that was written bit by bit, `part`, in the place of `path` in the same folder, once it is on disk."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


@contextmanager
def _temporary(path: Path, content: bytes | str) -> Iterator[Path]:
    """A file beside `path` with this content, forced to disk; gone at the end unless it was renamed."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not mkstemp: its files are for their owner's eyes only, whatever the umask.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def put_aside(path: Path) -> Path:
    """Rename a damaged file to `NAME.damaged` beside it, so that its place is free and whoever wants to can look at it."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    return aside


def sync_folder(folder: Path) -> None:
    """Force a rename or a new entry in `folder` to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cut_torn_line(path: Path) -> None:
    """Cut off what a crash left after the last line end of a file of lines; nothing where there is no file."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end, block = size, 4096
        while end > 0:
            start = max(0, end - block)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def sha256_of(path: Path) -> str:
    """Of a file's content, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
