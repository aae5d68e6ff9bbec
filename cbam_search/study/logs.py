"""What happened in a study, with the time: its ledger as lines, and what Ray and Optuna had to say. Only reads."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cbam_search.errors import UserError
from cbam_search.records.driver import Driver
from cbam_search.records.events import TrialFinished
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.report.terminal.event_lines import EventLines
from cbam_search.report.wording import moment
from cbam_search.safe_text import presentable
from cbam_search.study.status import driver_or_problem, is_driven

LOOK_SECONDS = 0.5
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ")

Note = Callable[[str], None]


@dataclass(frozen=True)
class LogLine:
    """time_seconds: since 1970. text: further lines of it, as of a traceback, have no time of their own."""

    time_seconds: float
    text: str

    def __str__(self) -> str:
        return presentable(f"{moment(self.time_seconds)}  {self.text}")


def log_lines(folder: StudyFolder, *, trial: int | None = None) -> Iterator[LogLine]:
    """All that is recorded so far, in the order of its times. trial: only this one, with its epochs and its traceback.

    Raises UserError where no such trial has begun, RecordsError where the ledger is damaged.
    """
    reader = _Reader(folder, trial)
    yield from reader.new()
    reader.require_trial()


def follow_log(
    folder: StudyFolder, note: Note, *, trial: int | None = None, sleep: Callable[[float], None] = time.sleep
) -> Iterator[LogLine]:
    """The same, and on with what happens, across a resume too, until the study is closed, or the trial has ended.

    note: told when nobody drives the study any more, so that it is the reader's turn.
    """
    reader = _Reader(folder, trial)
    told: int | None = None
    while True:
        # Before the ledger: a driver that has let go by now has closed the study, and the ledger tells.
        driver, _ = driver_or_problem(folder)
        lines = reader.new()
        yield from lines
        # Only when nothing has come since: after the end of a training stands what it means for the front.
        if not lines and reader.has_ended(driver):
            reader.require_trial()
            return
        if not lines and driver is not None and not driver.drives and driver.generation != told:
            told = driver.generation
            note(f"nobody drives study {folder.path.name} now; waiting for a resume. Ctrl-C ends this")
        sleep(LOOK_SECONDS)


class _Reader:
    """Reads the ledger and study.log from where it stopped the last time."""

    def __init__(self, folder: StudyFolder, trial: int | None) -> None:
        self._folder = folder
        self._lines = EventLines(folder.read_manifest(), trial=trial)
        self._trial = trial
        self._offset = 0
        self._chatter = _Chatter(folder.log)

    def new(self) -> list[LogLine]:
        """What has come since."""
        lines = self._chatter.new() if self._trial is None else []
        for event, offset in read_events(self._folder.ledger, self._offset):
            self._offset = offset
            text = self._lines.add(event)
            if text is None:
                continue
            if self._trial is not None and isinstance(event, TrialFinished):
                text += self._traceback(event)
            lines.append(LogLine(event.time_seconds, text))
        # Stable: what was written at one time keeps its order.
        return sorted(lines, key=lambda line: line.time_seconds)

    def has_ended(self, driver: Driver | None) -> bool:
        """Whether nothing more is to come."""
        view = self._lines.view
        known = view.trials.get(self._trial) if self._trial is not None else None
        if known is not None and known.outcome is not None:
            return True
        return view.closed is not None and not is_driven(driver, view)

    def require_trial(self) -> None:
        """Raise UserError where a trial is asked for that is not there."""
        trials = self._lines.view.trials
        if self._trial is not None and self._trial not in trials:
            known = f"its trials are numbered from {min(trials)} to {max(trials)}" if trials else "it has none yet"
            raise UserError(f"study {self._folder.path.name} has no trial {self._trial}: {known}")

    def _traceback(self, event: TrialFinished) -> str:
        """Of a training that failed, where it was kept."""
        path = self._folder.error(self._lines.view.trials[event.trial].evaluation)
        try:
            return f"\n{path}:\n{path.read_text(encoding='utf-8', errors='replace').rstrip()}"
        except OSError:
            return ""


class _Chatter:
    """What Ray and Optuna had to say, line by line; a line without a time belongs to the one before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._time_seconds = 0.0

    def new(self) -> list[LogLine]:
        """What has come since; a line that is still being written comes later."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole, end, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self._offset += len(whole) + len(end)
        return [self._line(line) for line in whole.decode(errors="replace").split("\n") if line.strip()]

    def _line(self, line: str) -> LogLine:
        if found := _STAMP.match(line):
            self._time_seconds = time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) + int(found[2]) / 1000
            line = line[found.end() :]
        return LogLine(self._time_seconds, f"{self._path.name}: {line}")
