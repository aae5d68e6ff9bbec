"""A file that the user names, read without waiting for ever: a regular file, or a pipe such as the shell's `<(command)`."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

PIPE_SECONDS = 20.0
"""How long a pipe may be silent."""


def read_bytes(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of it.

    Raises OSError, also for what is neither a file nor a pipe, and for a pipe that stays silent; ValueError for a name that no
    file can have.
    """
    # Without waiting for who writes into a named pipe; for a file it makes no difference.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(limit)
        if stat.S_ISFIFO(mode):
            return _read_pipe(descriptor, limit)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        raise OSError("it is a device, not a file")
    finally:
        os.close(descriptor)


def _read_pipe(descriptor: int, limit: int) -> bytes:
    content, somebody_came = b"", False
    deadline = time.monotonic() + PIPE_SECONDS
    while len(content) < limit:
        try:
            piece = os.read(descriptor, limit - len(content))
        except BlockingIOError:  # who writes has nothing to say yet
            piece = None
        if piece == b"" and (content or somebody_came):
            break
        content += piece or b""
        if not piece:  # also an empty one, where nobody has come to write yet
            somebody_came, _, _ = map(bool, select.select([descriptor], [], [], max(0.0, deadline - time.monotonic())))
            if not somebody_came:
                raise OSError(f"nothing came through this pipe for {PIPE_SECONDS:.0f} s")
    return content


def folder_of(path: Path) -> Path:
    """Where relative paths in the file start: in its own folder, those of a pipe where the command is typed."""
    return path.resolve().parent if path.is_file() else Path.cwd()
