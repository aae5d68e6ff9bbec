"""What a study shows while it runs: a live display on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cbam_search.records.events import Event, FrontUpdated, TrialFinished, TrialStarted, TrialWaits
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import TrialState
from cbam_search.records.view import StudyView
from cbam_search.report.tally import Tally
from cbam_search.report.terminal.live_view import LiveView
from cbam_search.report.terminal.progress_lines import (
    again_text,
    end_line,
    finished_line,
    header_line,
    outcome_text,
    waits_text,
)
from cbam_search.safe_text import presentable

REFRESHES_PER_SECOND = 4
SAME_WAIT_SECONDS = 600.0
"""So long a wait for the same thing is not said again: each measurement of latency makes all others wait for a moment."""


class Progress:
    """Shows a study's events; use it as a context manager, and call it with each event once it is in the view.

    On a terminal, events only change what rich's own thread draws. Failures, trials that go on after their worker or driver
    died, and what trials wait for are printed above the display, which is wiped at the end, so that one line with all counts
    remains.
    """

    def __init__(self, manifest: StudyManifest, view: StudyView, *, console: Console | None = None, concurrent: int) -> None:
        """concurrent: how many trials run at once."""
        self._console = console or Console()
        self._concurrent = concurrent
        self._view = view
        self._tally = Tally(manifest, view)
        self._last_finished: int | None = None
        self._live: Live | None = None
        self._started_seconds = 0.0
        self._waits_said: dict[str, float] = {}
        """What trials waited for, and when that was said last."""

    def __enter__(self) -> Self:
        self._started_seconds = time.time()
        self._print(header_line(self._tally, self._concurrent))
        if self._console.is_terminal and self._console.is_interactive:
            view = LiveView(self._tally, concurrent=self._concurrent, started_seconds=self._started_seconds)
            self._live = Live(view, console=self._console, refresh_per_second=REFRESHES_PER_SECOND, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
        self._print(end_line(self._tally, time.time() - self._started_seconds))

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialStarted) and event.attempt > 1:
            self._print(again_text(event, self._view, self._tally.manifest))
        elif isinstance(event, TrialWaits):
            self._say_wait(event)
        elif isinstance(event, TrialFinished):
            self._last_finished = event.trial
            if self._live is not None and event.outcome.state is TrialState.FAILED:
                self._print(outcome_text(self._view.trials[event.trial], self._tally.manifest))
        elif isinstance(event, FrontUpdated) and self._live is None and self._last_finished is not None:
            left = self._tally.seconds_left(time.time(), self._concurrent)
            self._print(finished_line(self._tally, self._last_finished, left))

    def _say_wait(self, event: TrialWaits) -> None:
        if event.why is None or event.time_seconds - self._waits_said.get(event.why, 0.0) < SAME_WAIT_SECONDS:
            return
        self._waits_said[event.why] = event.time_seconds
        self._print(waits_text(event))

    def _print(self, line: str) -> None:
        self._console.print(Text(presentable(line)), soft_wrap=not self._console.is_terminal, highlight=False)
