"""One physical device, shared by trainings and had alone by whoever measures: a reader-writer lock between processes.

Two files a device and host, locked by the kernel (flock), which lets go of them when a process dies, however it dies.
Trainings hold `room` shared, one epoch at a time; a measurement holds it alone. Everyone passes `turnstile` first, and a
measurement keeps that while it waits for the room: trainings that begin their next epoch line up behind it, so that it waits
for the epochs under way and never for those to come.

Processes that do not see the same folder do not see each other: containers on one host need to share it.
"""

from __future__ import annotations

import fcntl
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCKS_VARIABLE = "CBAM_SEARCH_LOCKS"
_LOOK_SECONDS = 0.02


def locks_folder() -> Path:
    """$CBAM_SEARCH_LOCKS, else a folder that all users of this host share."""
    return Path(os.environ.get(LOCKS_VARIABLE) or Path(tempfile.gettempdir()) / "cbam-search-locks")


class DeviceLock:
    """The lock of the device that `device_id` stands for (see `physical_id`). Holds no file while it is not held itself."""

    def __init__(self, device_id: str, folder: Path | None = None) -> None:
        self._device_id = device_id
        self._folder = folder or locks_folder()

    def for_training(self) -> Place:
        """A place in line for the device together with others that hold it so."""
        return Place(self._folder, self._device_id, alone=False)

    def for_measuring(self) -> Place:
        """A place in line for the device alone, once all who hold it now are done."""
        return Place(self._folder, self._device_id, alone=True)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the device together with others that hold it so."""
        with self.for_training().held():
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the device alone, once all who hold it now are done."""
        with self.for_measuring().held():
            yield


class Place:
    """One process's place in line for a device, then its hold on it. Let go of it, whatever happens.

    waits_for: in words, what it is in line behind.
    """

    def __init__(self, folder: Path, device_id: str, *, alone: bool) -> None:
        self._folder = folder
        self._device_id = device_id
        self._alone = alone
        self._turnstile: int | None = None
        self._room: int | None = None
        under_way = "epochs and measurements" if alone else "a measurement of latency"
        self.waits_for = f"{under_way} of other processes on the same device"

    def had_within(self, seconds: float) -> bool:
        """Whether the device is ours, so long from now at the latest. Asked again it keeps its place in line.

        Raises OSError where the lock's files cannot be made or opened.
        """
        until = time.monotonic() + seconds
        while not self._had():
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def let_go(self) -> None:
        """Of the device, or of the place in line."""
        for descriptor in (self._room, self._turnstile):
            if descriptor is not None:
                _release(descriptor)
        self._room = self._turnstile = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait however long it takes, and hold the device."""
        try:
            self.had_within(math.inf)
            yield
        finally:
            self.let_go()

    def _had(self) -> bool:
        if self._room is None and self._turnstile is None:
            self._turnstile = self._locked("turnstile", fcntl.LOCK_EX)
        if self._room is None and self._turnstile is not None:
            self._room = self._locked("room", fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH)
            if self._room is not None and not self._alone:
                _release(self._turnstile)
                self._turnstile = None
        return self._room is not None

    def _locked(self, name: str, how: int) -> int | None:
        """The open file; None while another process is in the way."""
        descriptor = self._opened(self._folder / f"{self._device_id}.{name}")
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
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
