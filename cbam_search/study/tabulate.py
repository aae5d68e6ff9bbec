"""`tabulate`: train a whole small space with several seeds, and keep every epoch of it in one parquet file.

Benchmarks replay searches on such a table. Unlike a search, tabulating opens the test split: once a training, at its end.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cbam_search.errors import RecordsError, UserError
from cbam_search.own_code import CodePermission
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.table import (
    TableMetadata,
    TableSession,
    write_table,
)
from cbam_search.records.table_journal import TableJournal, check_output, open_journal, trainings_lost_message
from cbam_search.report.terminal.tabulation_progress import TabulationProgress
from cbam_search.running.worker_pool import run_tasks
from cbam_search.safe_text import reason
from cbam_search.study.config import read_study_config
from cbam_search.study.environment import hardware, versions
from cbam_search.study.table_preparation import PreparedTable, as_read_today, check_recorded, fitting_workers, prepare_table

SNAPSHOT_SECONDS = 600.0
"""So often what is there is written to the table itself."""


@dataclass(frozen=True)
class Tabulation:
    """How it ended. trained: trainings of this run. exit_code: of the command; 0 unless Ctrl-C or a signal interrupted it."""

    output: Path
    metadata: TableMetadata
    trained: int
    exit_code: int


def tabulate(
    space: str | Path,
    output: str | Path,
    *,
    seeds: int = 3,
    workers: int | None = None,
    limit: int | None = None,
    allow_code: bool = False,
    note: Callable[[str], None] = lambda _line: None,
) -> Tabulation:
    """Train every distinct architecture that the YAML file `space` allows with `seeds` seeds, and write the table `output`.

    Seeds are the YAML's and those after it; data splits stay those of the YAML's. What an earlier call for the same output
    trained is not trained again, however it ended. workers: processes; by default as many as the machine has room for, one with
    executor inline.
    limit: train a uniform random sample of so many architectures. note: told of progress, a line at a time.

    Raises UserError before anything is trained, StudyFailedError when a training fails for another reason than divergence.
    """
    config, text = read_study_config(Path(space))
    output = Path(output)
    check_recorded(config)
    check_output(output)
    prepared = prepare_table(config, text, Path(space), seeds=seeds, limit=limit, code=CodePermission.of(allow_code))
    at_once = workers or fitting_workers(config)
    architectures = {cell.digest: task.architecture for cell, task in prepared.tasks.items()}
    with open_journal(output, prepared.identity, architectures, read=as_read_today) as journal:
        return _TableRun(prepared, journal, at_once, note).run()


class _TableRun:
    """A table under way, the journal open."""

    def __init__(self, prepared: PreparedTable, journal: TableJournal, workers: int, note: Callable[[str], None]) -> None:
        self._prepared = prepared
        self._journal = journal
        self._note = note
        if others := [cell for cell in journal.evaluations if cell not in prepared.tasks]:
            raise UserError(
                trainings_lost_message(journal.output, f"{len(others):,} trainings of other seeds or architectures")
            )
        self._left = tuple(task for cell, task in prepared.tasks.items() if cell not in journal.evaluations)
        self._workers = max(1, min(workers, len(self._left)))
        self._lines = TabulationProgress(prepared.metadata, len(prepared.tasks) - len(self._left), self._workers)

    def run(self) -> Tabulation:
        self._note(self._lines.header())
        trained, exit_code = 0, 0
        if self._left:
            self._journal.begin(
                TableSession(started_seconds=time.time(), hardware=hardware(), versions=versions(), workers=self._workers)
            )
            try:
                for evaluation in self._evaluations():
                    trained += 1
                    if line := self._lines.finished(evaluation):
                        self._note(line)
            except KeyboardInterrupt as error:
                exit_code = getattr(error, "exit_code", 128 + signal.SIGINT)
        metadata = self._write()
        if metadata.complete:
            self._journal.remove()
        self._note(self._lines.closing(self._journal.output, complete=metadata.complete))
        return Tabulation(self._journal.output, metadata, trained, exit_code)

    def _evaluations(self) -> Iterator[Evaluation]:
        """Each training when it is on disk."""
        written = time.monotonic()
        with closing(run_tasks(self._prepared.job.start, self._left, workers=self._workers)) as results:
            for _, evaluation in results:
                self._journal.add(evaluation)
                yield evaluation
                if time.monotonic() - written > SNAPSHOT_SECONDS:
                    self._write()
                    written = time.monotonic()

    def _write(self) -> TableMetadata:
        """The table with what there is."""
        asked = self._prepared.metadata
        complete = len(self._journal.evaluations) == len(self._prepared.tasks)
        metadata = asked.model_copy(update={"complete": complete, "sessions": tuple(self._journal.sessions)})
        with _readable(self._journal.output):
            write_table(self._journal.output, metadata, self._prepared.entries, self._journal.evaluations.values())
        return metadata


@contextmanager
def _readable(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecordsError(
            f"{output} cannot be written: {reason(error, with_file=False)}. What was trained is kept in the folder beside it; "
            f"the same command goes on from there"
        ) from error
