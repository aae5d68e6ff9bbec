"""The ledger: every event of a study as one line of JSON, forced to disk before anyone is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cbam_search.durable import cut_torn_line
from cbam_search.errors import RecordsError
from cbam_search.records.damage import damage_in_words, unreadable
from cbam_search.records.events import EVENT, Event
from cbam_search.safe_text import reason

Listener = Callable[[Event], None]
_MEND = "Put back a copy of it"


class Ledger:
    """Append-only file with one writer, the driver. A line torn by a crash is cut off when the ledger is opened again."""

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None) -> None:
        """check: called before each event is written; raises LeaseLostError where another driver has taken over."""
        self.path = path
        self.check = check
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        try:
            cut_torn_line(path)
            self._file = path.open("ab")
        except OSError as error:
            raise unreadable(path, error, _MEND) from error

    def subscribe(self, listener: Listener) -> None:
        """Have `listener` called with each event, after it is on disk, in the thread that appends."""
        self._listeners.append(listener)

    def append(self, event: Event) -> None:
        """Force `event` to disk, then tell the listeners; raises RecordsError when it cannot be written."""
        with self._lock:
            self.check()
            try:
                self._file.write(event.model_dump_json().encode() + b"\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise RecordsError(f"cannot write {self.path}: {reason(error, with_file=False)}") from error
        for listener in self._listeners:
            listener(event)

    def close(self) -> None:
        # What is still unwritten has been reported: each append writes its own event or raises.
        with suppress(OSError):
            self._file.close()


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Events from byte `offset` on, each with the offset after it; stops before a line that is still being written.

    Raises RecordsError for a line that is whole but not an event, and where the file cannot be read; UserError where this user
    may not read it.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(path, error, _MEND) from error
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                event = EVENT.validate_json(line)
            except ValueError as error:
                raise RecordsError(
                    f"{path} is damaged before byte {offset + len(line)}: line {_line_at(path, offset)} is not an event "
                    f"({damage_in_words(error)}). Put back a copy of the file, or remove that line: how trainings ended stands "
                    f"in the study's storage too"
                ) from error
            offset += len(line)
            yield event, offset


def _line_at(path: Path, offset: int) -> int:
    """The number of the line that begins at this byte, from 1."""
    with path.open("rb") as file:
        return file.read(offset).count(b"\n") + 1
