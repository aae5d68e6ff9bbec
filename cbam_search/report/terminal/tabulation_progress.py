"""What `tabulate` says while it trains: a line at first, one every few seconds, one at the end."""

from __future__ import annotations

import time
from pathlib import Path

from cbam_search.counted import counted
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.table import TableMetadata
from cbam_search.records.trials import TrialState
from cbam_search.report.wording import duration, inline

SECONDS_BETWEEN_LINES = 10.0


class TabulationProgress:
    """finished_before: trainings of earlier calls. workers: processes at once."""

    def __init__(self, metadata: TableMetadata, finished_before: int, workers: int) -> None:
        self._metadata = metadata
        self._before = self._finished = finished_before
        self._workers = workers
        self._diverged = 0
        self._began = self._last_line = time.monotonic()

    @property
    def _total(self) -> int:
        return self._metadata.architectures * len(self._metadata.seeds)

    def header(self) -> str:
        """What is about to be trained."""
        table = self._metadata
        of = f" of {table.distinct_architectures:,}" if table.limit is not None or table.bounds else ""
        before = f"; {self._before:,} finished before" if self._before else ""
        return (
            f"table {table.name}: {table.architectures:,} architectures{of}, {counted(len(table.seeds), 'seed')}, "
            f"{counted(self._total, 'training')} of {counted(table.epochs, 'epoch')} on {counted(table.data.train, 'image')}; "
            f"validated on {table.data.validation:,}, tested on {table.data.test:,}; {counted(self._workers, 'worker')}{before}"
        )

    def finished(self, evaluation: Evaluation) -> str | None:
        """A line for this training, or None where one was given a moment ago; those that diverged always have one."""
        self._finished += 1
        now = time.monotonic()
        is_last = self._finished == self._total
        diverged = evaluation.state is TrialState.DIVERGED
        self._diverged += diverged
        if not (diverged or is_last or self._finished == self._before + 1 or now - self._last_line >= SECONDS_BETWEEN_LINES):
            return None
        self._last_line = now
        left = (now - self._began) / (self._finished - self._before) * (self._total - self._finished)
        assert evaluation.architecture is not None
        accuracy = evaluation.epochs[-1].metrics["accuracy"] if evaluation.epochs else 0.0
        outcome = "diverged" if diverged else inline("accuracy", accuracy)
        seconds = sum(epoch.seconds for epoch in evaluation.epochs)
        return (
            f"[{self._finished:,}/{self._total:,}] {evaluation.architecture.digest[:8]} with seed {evaluation.seed}: "
            f"{outcome}, {seconds:.1f} s; {duration(left)} left"
        )

    def closing(self, output: Path, *, complete: bool) -> str:
        """Where the table is, and what to do where it is not complete."""
        diverged = f", {self._diverged} of them diverged" if self._diverged else ""
        trained = (
            f"{counted(self._finished - self._before, 'training')} in {duration(time.monotonic() - self._began)}{diverged}"
        )
        if complete:
            return f"{output} is complete: {counted(self._total, 'training')}; this time {trained}"
        so_far = f"{self._finished:,} of {counted(self._total, 'training')}"
        return f"{output} has {so_far}; this time {trained}. The same command goes on"
