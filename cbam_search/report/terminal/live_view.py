"""Progress on a terminal: a bar, counts, the running trials and the front so far, in as many lines as there is room for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cbam_search.metrics import metric
from cbam_search.records.trials import Trial, TrialState
from cbam_search.report.placement import placement_text
from cbam_search.report.replayed import replayed_text
from cbam_search.report.tally import Tally
from cbam_search.report.terminal.progress_lines import skipped_text, states_text
from cbam_search.report.wording import duration, heading, hypervolume_text
from cbam_search.safe_text import printable
from cbam_search.search.evenly_spaced import evenly_spaced

_FRONT_ROWS_AT_MOST = 10
_HEAD_LINES = 2
_LINES_BESIDE_ROWS = 2
"""A blank line and the headings, for each of the two tables."""


class LiveView:
    """The study at the moment it is drawn, never higher than the console; the view's lock keeps it still meanwhile."""

    def __init__(self, tally: Tally, *, concurrent: int, started_seconds: float) -> None:
        self._tally = tally
        self._view = tally.view
        self._concurrent = concurrent
        self._started_seconds = started_seconds

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._view.lock:
            parts = self._parts(console.height)
        yield from parts

    def _parts(self, height: int) -> list[RenderableType]:
        # One line stays free: a picture as high as the terminal would scroll it at every refresh.
        room = height - 1 - _HEAD_LINES
        parts: list[RenderableType] = [self._bar()]
        if room >= 0:
            parts.append(Text(self._counts(), no_wrap=True, overflow="ellipsis"))
        running, front = _row_counts(room, len(self._view.running), len(self._view.front))
        if running:
            parts += [Text(), self._running_table(running)]
        if front:
            parts += [Text(), self._front_table(front)]
        return parts

    def _bar(self) -> Table:
        tally, now = self._tally, time.time()
        left = tally.seconds_left(now, self._concurrent)
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(
            Text(f"{self._view.finished}/{tally.manifest.trials_allowed}", style="bold"),
            ProgressBar(total=1.0, completed=tally.share_done),
            Text(
                f"{duration(now - self._started_seconds)} elapsed, "
                + ("estimating" if left is None else f"{duration(left)} left")
            ),
        )
        return line

    def _counts(self) -> str:
        view = self._view
        ended = states_text(view, always=(TrialState.COMPLETE, TrialState.STOPPED, TrialState.FAILED))
        skipped = f"; skipped: {skipped_text(view)}" if view.skipped else ""
        text = replayed_text(view.trials.values())
        waiting = f" ({len(view.waiting)} waiting)" if view.waiting else ""
        return f"{len(view.running)} running{waiting}, {ended}{skipped}" + (f"; {text}" if text else "")

    def _running_table(self, rows: int) -> Table:
        table = _table("running", ["epoch", "accuracy", heading("gflops"), "params"])
        for number, training in list(self._tally.running.items())[-rows:]:
            accuracy = "" if training.accuracy is None else metric("accuracy").text(training.accuracy)
            epoch = f"{training.epoch}/{self._tally.manifest.epochs}"
            table.add_row(str(number), epoch, accuracy, *_costs(training.trial), _design(training.trial))
        return table

    def _front_table(self, rows: int) -> Table:
        view = self._view
        objectives = [objective.name for objective in self._tally.manifest.objectives]
        measured = [name for name in objectives if metric(name).source != "known"]
        table = _table("front", [*map(heading, measured), heading("gflops"), "params"])
        for index in evenly_spaced(len(view.front), rows):
            number = view.front[index]
            trial = view.trials[number]
            values = trial.values or {}
            table.add_row(str(number), *(metric(name).text(values[name]) for name in measured), *_costs(trial), _design(trial))
        hidden = len(view.front) - len(table.rows)
        more = f", {hidden} of {len(view.front)} not shown" if hidden else ""
        table.columns[-1].header = Text(f"hypervolume {hypervolume_text(view.hypervolume)}{more}", style="not bold")
        return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(title, justify="right", no_wrap=True, min_width=len("running"))
    for text in headings:
        table.add_column(text, justify="right", no_wrap=True, min_width=max(len(text), 8))
    table.add_column("", no_wrap=True, overflow="ellipsis")
    return table


def _costs(trial: Trial) -> tuple[str, str]:
    return metric("gflops").text(trial.candidate.gflops), metric("params").text(trial.candidate.params)


def _design(trial: Trial) -> Text:
    """Published designs by name, others by their backbone and where attention sits."""
    architecture = trial.candidate.architecture
    if trial.is_published:
        return Text.assemble((printable(trial.candidate.label), "yellow"), " published")
    return Text(printable(f"{architecture.backbone.name} {placement_text(architecture)}", limit=1000))


def _row_counts(room: int, running: int, front: int) -> tuple[int, int]:
    """Rows for the running trials and for the front; the front gets what the running trials leave, and at least half."""
    front_wanted = min(front, _FRONT_ROWS_AT_MOST)
    spare = room - _LINES_BESIDE_ROWS * ((running > 0) + (front > 0))
    running_rows = max(0, min(running, max(spare // 2, spare - front_wanted)))
    front_rows = max(0, min(front_wanted, spare - running_rows))
    return running_rows, front_rows
