"""Who drives a study, as its lease files tell: for the next driver, and for those who only look.

`lease/` in a study's folder holds a file a generation, `1.json`, `2.json` and so on: each time a driver takes charge it writes
the next. The highest is in force. `3.stop` asks the driver of generation 3 to stop, and no other.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cbam_search.durable import write_once
from cbam_search.errors import RecordsError, UserError
from cbam_search.records.damage import unreadable
from cbam_search.records.folder import StudyFolder
from cbam_search.records.process import ProcessIdentity, this_process
from cbam_search.safe_text import reason

HEARTBEAT_SECONDS = 30.0
SILENT_SECONDS = 600.0
"""A driver that was not heard of for so long counts as gone."""

AHEAD_SECONDS = 60.0
"""A heartbeat further than this in the future was written by a clock that is wrong, or read by one."""

Clock = Callable[[], float]
_GENERATION = re.compile(r"([1-9][0-9]*)\.json")


class LeaseRecord(ProcessIdentity):
    """What a lease file holds: a driver, and its signs of life by its own clock, in seconds since 1970.

    released_seconds: when it let go; None while it holds the study.
    ended: how, in a word; None until then.
    """

    since_seconds: float
    heartbeat_seconds: float
    released_seconds: float | None = None
    ended: str | None = None


class StopRequest(ProcessIdentity):
    """Who asked a driver to stop, and when."""

    time_seconds: float


class Standing(StrEnum):
    """What is known of the driver that took charge last."""

    HELD = "held"
    RELEASED = "released"
    DEAD = "dead"
    """It let go of nothing, and its process is gone from this very machine."""
    SILENT = "silent"
    """It let go of nothing, and was not heard of for ten minutes."""


class Driver(BaseModel):
    """The driver that took charge last. stop: whether it was asked to stop."""

    model_config = ConfigDict(frozen=True)

    generation: int
    record: LeaseRecord
    standing: Standing
    stop: StopRequest | None = None

    @property
    def drives(self) -> bool:
        """Whether it is in charge now, as far as can be told."""
        return self.standing is Standing.HELD


def lease_file(folder: StudyFolder, generation: int) -> Path:
    return folder.lease / f"{generation}.json"


def stop_file(folder: StudyFolder, generation: int) -> Path:
    return folder.lease / f"{generation}.stop"


def last_generation(folder: StudyFolder) -> int:
    """The one in force; 0 where the study never had a lease."""
    try:
        names = [path.name for path in folder.lease.iterdir()]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise unreadable(folder.lease, error, "Nobody can tell who drives the study") from error
    return max((int(found[1]) for name in names if (found := _GENERATION.fullmatch(name))), default=0)


def read_lease(folder: StudyFolder, generation: int) -> LeaseRecord:
    """Raises RecordsError where the file is damaged or cannot be read, UserError where this user may not read it."""
    path = lease_file(folder, generation)
    try:
        return LeaseRecord.model_validate_json(path.read_bytes())
    except ValidationError:
        raise RecordsError(
            f"{path} is damaged, so that nobody can tell who drives the study. A driver that lives writes it anew every "
            f"{HEARTBEAT_SECONDS:.0f} s: try again in a minute. If it is damaged still, make sure that no machine drives the "
            f"study, remove that file, and try again"
        ) from None
    except OSError as error:
        raise unreadable(path, error, "Nobody can tell who drives the study") from error


def standing_of(record: LeaseRecord, now_seconds: float) -> Standing:
    """What a lease tells at a glance. A heartbeat in the future counts as a sign of life."""
    if record.released_seconds is not None:
        return Standing.RELEASED
    if record.is_gone:
        return Standing.DEAD
    return Standing.SILENT if now_seconds - record.heartbeat_seconds > SILENT_SECONDS else Standing.HELD


def driver_of(folder: StudyFolder, *, clock: Clock = time.time) -> Driver | None:
    """Who took charge of the study last, and what is known of it; None where the study never had a lease.

    Only reads. Raises what `read_lease` raises.
    """
    generation = last_generation(folder)
    if not generation:
        return None
    record = read_lease(folder, generation)
    stop = _stop_request(folder, generation)
    return Driver(generation=generation, record=record, standing=standing_of(record, clock()), stop=stop)


def request_stop(folder: StudyFolder, generation: int, *, clock: Clock = time.time) -> None:
    """Ask the driver of this generation to stop; asked again, the first request stands.

    Raises UserError where the folder cannot be written, RecordsError where the disk is full.
    """
    request = StopRequest(**this_process().model_dump(), time_seconds=clock())
    try:
        write_once(stop_file(folder, generation), request.model_dump_json() + "\n")
    except OSError as error:
        raise not_writable(folder, "its driver cannot be asked to stop", error) from error


def not_writable(folder: StudyFolder, consequence: str, error: OSError) -> UserError | RecordsError:
    """What to raise where a file of the lease could not be written: the reader's business, or the disk's."""
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return UserError(
            f"the folder of study {folder.path.name} cannot be written, so that {consequence}: {folder.path}: "
            f"{reason(error, with_file=False)}. Do it as the user and on the machine that may write there"
        )
    return RecordsError(f"cannot write in {folder.lease}: {reason(error, with_file=False)}. Nothing was changed")


def _stop_request(folder: StudyFolder, generation: int) -> StopRequest | None:
    try:
        return StopRequest.model_validate_json(stop_file(folder, generation).read_bytes())
    except (OSError, ValidationError):
        return None
