"""Which process of which machine: named so that another one, later or elsewhere, can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cbam_search.safe_text import printable

_ENDED_STATES = "ZX"
"""A killed process stays as a zombie until its parent has asked how it ended."""


class ProcessIdentity(BaseModel):
    """A process and its machine.

    process: its number there.
    process_started: clock ticks from the boot to its start, since numbers are used again; None where the system does not tell.
    """

    model_config = ConfigDict(frozen=True)

    host: str
    process: int
    process_started: int | None

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return self.host == socket.gethostname()

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended. Of a process elsewhere nothing is known."""
        return self.is_here and not _lives(self.process, self.process_started)

    @property
    def is_this_one(self) -> bool:
        this = this_process()
        return (self.host, self.process, self.process_started) == (this.host, this.process, this.process_started)

    @property
    def name(self) -> str:
        """`host7, process 123`."""
        return f"{printable(self.host)}, process {self.process}"


def process_here(process: int) -> ProcessIdentity:
    """The one that has this number on this machine now; where there is none, its start is not known."""
    found = _state_and_start(process)
    return ProcessIdentity(host=socket.gethostname(), process=process, process_started=found[1] if found else None)


def this_process() -> ProcessIdentity:
    """The one that asks."""
    return process_here(os.getpid())


def _lives(process: int, started: int | None) -> bool:
    found = _state_and_start(process)
    if found is not None:
        state, start = found
        return state not in _ENDED_STATES and started in (None, start)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _state_and_start(process: int) -> tuple[str, int] | None:
    """None where there is no such process, or no /proc."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the program, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    return (fields[0], int(fields[19])) if len(fields) > 19 else None
