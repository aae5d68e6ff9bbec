"""The lease of a driver: what names it to others, and tells it when another one has taken over.

The file lock of a study keeps two drivers apart where locks work. The lease, taken while the lock is held, does so where they
do not: on a file system whose locks stop at the machine, or after a machine was thought dead that was only slow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cbam_search.durable import write_atomically, write_once
from cbam_search.errors import LeaseLostError, RecordsError, StudyBusyError, UserError
from cbam_search.records.driver import (
    AHEAD_SECONDS,
    HEARTBEAT_SECONDS,
    SILENT_SECONDS,
    Clock,
    LeaseRecord,
    Standing,
    last_generation,
    lease_file,
    not_writable,
    read_lease,
    standing_of,
    stop_file,
)
from cbam_search.records.folder import StudyFolder
from cbam_search.records.process import this_process
from cbam_search.safe_text import reason

_LOOKS = 12
"""At a lease that is watched, within two heartbeats' time."""

Sleep = Callable[[float], None]
Note = Callable[[str], None]


@dataclass(frozen=True)
class LeaseGuard:
    """The right to write in a study, small enough to hand to a process that writes on the driver's behalf."""

    folder: StudyFolder
    generation: int

    def check(self) -> None:
        """Raise LeaseLostError when another driver has taken over, RecordsError where the study's folder is gone.

        Two looks at the file system: call it before every write.

        A network file system may remember for up to a minute that a file was not there.
        """
        try:
            taken = lease_file(self.folder, self.generation + 1).exists()
            gone = not self.folder.manifest.exists()
        except OSError as error:
            raise RecordsError(f"cannot look into {self.folder.lease}: {reason(error, with_file=False)}") from error
        if gone:
            raise RecordsError(
                f"{self.folder.path} was moved or removed while its study ran: nothing more is written there. Put it back, or "
                f"resume the study where it is now"
            )
        if taken:
            raise LeaseLostError(_lost(self.folder, self.generation + 1))


class Lease:
    """A driver's hold on a study. As a context manager it beats meanwhile, and is released at the end.

    Its methods may be called from any thread.
    """

    def __init__(self, guard: LeaseGuard, record: LeaseRecord, *, clock: Clock = time.time) -> None:
        self.guard = guard
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def generation(self) -> int:
        return self.guard.generation

    def check(self) -> None:
        """See `LeaseGuard.check`."""
        self.guard.check()

    def stop_requested(self) -> bool:
        """Whether someone asked this driver to stop. One look at the file system; False where that fails."""
        try:
            return stop_file(self.guard.folder, self.generation).exists()
        except OSError:
            return False

    def beat(self) -> None:
        """Give a sign of life; nothing once released. Raises what `check` raises, writing nothing, and OSError."""
        with self._lock:
            if self._record.released_seconds is None:
                self._write(self._record.model_copy(update={"heartbeat_seconds": self._clock()}))

    def release(self, ended: str) -> None:
        """Let go of the study; ended: how, in a word. Where that cannot be written, the next driver finds out by itself."""
        self.stop()
        with self._lock:
            now = self._clock()
            update = {"heartbeat_seconds": now, "released_seconds": now, "ended": ended}
            released = self._record.model_copy(update=update)
            try:
                if self._record.released_seconds is None:
                    self._write(released)
            except (OSError, RecordsError):
                self._record = released

    def start(self) -> None:
        """Beat every 30 s, in a thread of its own."""
        self._thread = threading.Thread(target=self._keep_beating, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Releases it, unless the driver has said already how it ended."""
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.release("interrupted" if interrupted else "failed" if kind else "ended")

    def _keep_beating(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self.beat()
            except LeaseLostError:  # who writes finds out by its own check
                return
            except (OSError, RecordsError):  # a full disk may have room again in half a minute
                continue

    def _write(self, record: LeaseRecord) -> None:
        self.check()
        folder = self.guard.folder
        # Without hard links two drivers may both have written this file: the later one has it.
        if not self._is_ours():
            raise LeaseLostError(_lost(folder, self.generation))
        write_atomically(lease_file(folder, self.generation), record.model_dump_json() + "\n")
        self._record = record

    def _is_ours(self) -> bool:
        """A file that is damaged or gone is: written anew, it is whole."""
        try:
            found = read_lease(self.guard.folder, self.generation)
        except (RecordsError, UserError):
            return True
        own = ("host", "process", "process_started", "since_seconds")
        return all(getattr(found, name) == getattr(self._record, name) for name in own)


def take_lease(
    folder: StudyFolder, *, clock: Clock = time.time, sleep: Sleep = time.sleep, note: Note = lambda _: None
) -> Lease:
    """Take charge of a study; the caller holds its file lock.

    Of the driver before it must be known that it let go, that its process on this very machine is gone, or that it was silent
    for ten minutes. Clocks that disagree: a heartbeat more than a minute in the future tells nothing by its age; the file is
    then watched for two heartbeats' time, and counts as silent if it does not change. A clock that is ten minutes ahead of the
    driver's makes a driver that lives look silent; it then ends by itself at its next `check`.

    note: told what is waited for. Raises StudyBusyError where another driver is in charge or was faster, UserError where the
    folder cannot be written, RecordsError where the last lease is damaged or the disk is full.
    """
    last = last_generation(folder)
    if last:
        _require_free(folder, last, clock, sleep, note)
    now = clock()
    record = LeaseRecord(**this_process().model_dump(), since_seconds=now, heartbeat_seconds=now)
    try:
        written = write_once(lease_file(folder, last + 1), record.model_dump_json() + "\n")
    except OSError as error:
        raise not_writable(folder, "nothing can be trained in it", error) from error
    if not written:
        raise StudyBusyError(_busy(folder, read_lease(folder, last + 1)))
    return Lease(LeaseGuard(folder, last + 1), record, clock=clock)


def _require_free(folder: StudyFolder, generation: int, clock: Clock, sleep: Sleep, note: Note) -> None:
    record = read_lease(folder, generation)
    # This process holds the lock, so that what it once held itself it has let go of.
    if record.is_this_one or standing_of(record, clock()) is not Standing.HELD:
        return
    if record.heartbeat_seconds - clock() <= AHEAD_SECONDS:
        raise StudyBusyError(_busy(folder, record))
    note(
        f"the study in {folder.path} was driven by {record.name}, whose last sign of life lies in the future by this machine's "
        f"clock; waiting up to {2 * HEARTBEAT_SECONDS:.0f} s for another"
    )
    for _ in range(_LOOKS):
        sleep(2 * HEARTBEAT_SECONDS / _LOOKS)
        now = read_lease(folder, generation)
        if now.released_seconds is not None:
            return
        if now != record:
            raise StudyBusyError(_busy(folder, now, clocks_differ=True))


def _busy(folder: StudyFolder, record: LeaseRecord, *, clocks_differ: bool = False) -> str:
    driven = (
        f"the study in {folder.path} is driven by {record.name} since {_moment(record.since_seconds)}, last heard of at "
        f"{_moment(record.heartbeat_seconds)}"
    )
    if clocks_differ:
        return f"{driven} by its own clock, which is ahead of this machine's. To end it: {folder.stop_command}"
    return (
        f"{driven}. To end it: {folder.stop_command}. If that machine is gone, another driver can take the study over from "
        f"{_moment(record.heartbeat_seconds + SILENT_SECONDS)} on"
    )


def _lost(folder: StudyFolder, generation: int) -> str:
    try:
        taken = read_lease(folder, generation)
        who, when = f"another driver ({taken.name})", f" at {_moment(taken.since_seconds)}"
    except (RecordsError, UserError):
        who, when = "another driver", ""
    return f"{who} took over the study in {folder.path}{when}; this one writes nothing more and ends"


def _moment(seconds: float) -> str:
    """By this machine's clock and time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
