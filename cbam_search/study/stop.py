"""Asking the driver of a study to stop, from another process or another machine that sees the study's folder."""

from __future__ import annotations

import time
from collections.abc import Callable

from cbam_search.errors import CbamSearchError
from cbam_search.records.driver import Driver, Standing, driver_of, request_stop
from cbam_search.records.folder import StudyFolder
from cbam_search.records.status import StudyStatus
from cbam_search.report.terminal.status import headline, next_lines, under_way_text
from cbam_search.report.wording import duration, moment
from cbam_search.study.status import read_status

LOOK_SECONDS = 0.5
WORD_SECONDS = 60.0
"""How often a word is said while the driver is waited for."""

Note = Callable[[str], None]


def stop_study(
    folder: StudyFolder,
    note: Note,
    *,
    timeout_seconds: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Ask the study's driver to stop, and wait until it has; returns whether that driver has ended.

    note: told each thing that the reader should know. The request stands, also where the wait ends early: by timeout_seconds,
    or by Ctrl-C, which is raised on. It stops no later driver. Raises UserError where the folder cannot be written,
    RecordsError where the lease is damaged.
    """
    driver = driver_of(folder)
    if driver is None or driver.standing in (Standing.RELEASED, Standing.DEAD):
        note(f"nobody drives study {folder.path.name}{_why(driver)}. There is nothing to stop")
        _say_where_it_stands(folder, note)
        return True
    request_stop(folder, driver.generation)
    if driver.standing is Standing.SILENT:
        note(_gone(folder, driver))
        _say_where_it_stands(folder, note)
        return True
    try:
        return _wait(folder, driver, note, timeout_seconds, sleep)
    except KeyboardInterrupt:
        note(f"not waiting any longer. The request stands: {driver.record.name} stops once the epochs under way have finished")
        raise


def _wait(
    folder: StudyFolder, asked: Driver, note: Note, timeout_seconds: float | None, sleep: Callable[[float], None]
) -> bool:
    under_way = _under_way(folder)
    note(
        f"asked {asked.record.name} to stop study {folder.path.name}; the epochs under way finish first"
        + (f" ({under_way})" if under_way else "")
    )
    waited, said = 0.0, 0.0
    while (driver := _still_in_charge(folder, asked)) and driver.drives:
        if timeout_seconds is not None and waited >= timeout_seconds:
            note(
                f"{driver.record.name} drives it still after {duration(waited)}. The request stands: it stops once the epochs "
                f"under way have finished"
            )
            return False
        if waited - said >= WORD_SECONDS:
            said = waited
            note(f"waiting for {driver.record.name}, last heard of at {moment(driver.record.heartbeat_seconds)}")
        sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
    if driver is not None and driver.standing is Standing.SILENT:
        note(_gone(folder, driver))
    _say_where_it_stands(folder, note)
    return True


def _still_in_charge(folder: StudyFolder, asked: Driver) -> Driver | None:
    """The driver that was asked; None once another has followed it."""
    driver = driver_of(folder)
    return driver if driver is not None and driver.generation == asked.generation else None


def _say_where_it_stands(folder: StudyFolder, note: Note) -> None:
    status = _status(folder)
    if status is not None:
        for line in (headline(status), *next_lines(status)):
            note(line)


def _under_way(folder: StudyFolder) -> str:
    status = _status(folder)
    return under_way_text(status) if status else ""


def _status(folder: StudyFolder) -> StudyStatus | None:
    """None where the study's records cannot be read: its driver can be stopped all the same."""
    try:
        return read_status(folder)
    except CbamSearchError:
        return None


def _why(driver: Driver | None) -> str:
    if driver is None:
        return ", as far as its folder tells; a driver of a version before `stop` is ended by Ctrl-C"
    if driver.record.released_seconds is None:
        return f": its driver ({driver.record.name}) was killed"
    return f": {driver.record.name} let go of it at {moment(driver.record.released_seconds)}"


def _gone(folder: StudyFolder, driver: Driver) -> str:
    return (
        f"the driver of study {folder.path.name} ({driver.record.name}) was last heard of at "
        f"{moment(driver.record.heartbeat_seconds)}: its machine may be gone, or asleep. Should it come back, it stops, as "
        f"it is asked to. `resume` can go on without it"
    )
