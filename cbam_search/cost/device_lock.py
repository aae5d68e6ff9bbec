"""One physical device, shared by trainings and had alone by whoever measures: a reader-writer lock between processes.

Two files a device and host, locked by the kernel (flock), which lets go of them when a process dies, however it dies.
Trainings hold `room` shared, one epoch at a time; a measurement holds it alone. Everyone passes `turnstile` first, and a
measurement keeps that while it waits for the room: trainings that begin their next epoch line up behind it, so that it waits
for the epochs under way and never for those to come.

Processes that do not see the same folder do not see each other: containers on one host need to share it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCKS_VARIABLE = "CBAM_SEARCH_LOCKS"


def locks_folder() -> Path:
    """$CBAM_SEARCH_LOCKS, else a folder that all users of this host share."""
    return Path(os.environ.get(LOCKS_VARIABLE) or Path(tempfile.gettempdir()) / "cbam-search-locks")


class DeviceLock:
    """The lock of the device that `device_id` stands for (see `physical_id`). Holds no file while it is not held itself."""

    def __init__(self, device_id: str, folder: Path | None = None) -> None:
        self._device_id = device_id
        self._folder = folder or locks_folder()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the device together with others that hold it so."""
        with self._held("turnstile", fcntl.LOCK_EX):
            room = self._acquired("room", fcntl.LOCK_SH)
        try:
            yield
        finally:
            _release(room)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the device alone, once all who hold it now are done."""
        with self._held("turnstile", fcntl.LOCK_EX), self._held("room", fcntl.LOCK_EX):
            yield

    @contextmanager
    def _held(self, name: str, how: int) -> Iterator[None]:
        descriptor = self._acquired(name, how)
        try:
            yield
        finally:
            _release(descriptor)

    def _acquired(self, name: str, how: int) -> int:
        descriptor = self._opened(self._folder / f"{self._device_id}.{name}")
        try:
            fcntl.flock(descriptor, how)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _opened(self, path: Path) -> int:
        """Open for reading, which is all that flock needs: another user's file in a shared folder may forbid more."""
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY)
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(PermissionError):  # another user was quicker to make it
                path.parent.chmod(0o1777)
        # Never removed again: of two processes, one would lock the old file and one the new.
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
        with suppress(PermissionError):
            os.fchmod(descriptor, 0o644)
        return descriptor


def _release(descriptor: int) -> None:
    """Unlock before closing: a child that was forked meanwhile holds the file open too."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
