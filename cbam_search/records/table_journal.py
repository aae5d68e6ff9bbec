"""The trainings of a table that is still being made: an append-only file in a folder beside the table's.

The file begins with the identity of its trainings; each further line is a session or a training, forced to disk before the next
begins, so that Ctrl-C and `kill -9` lose what is under way and nothing else. The folder goes when the table is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from cbam_search.architecture import Architecture
from cbam_search.durable import cut_torn_line, write_atomically
from cbam_search.errors import RecordsError, StudyBusyError, UserError
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.older import evaluation_of_table_line
from cbam_search.records.table import Cell, TableIdentity, TableSession, read_table
from cbam_search.safe_text import printable, reason

_FILE = "trainings.jsonl"
ReadIdentity = Callable[[TableIdentity], TableIdentity]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    identity: TableIdentity | None = None
    session: TableSession | None = None
    evaluation: Evaluation | None = None

    def encoded(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode() + b"\n"


class TableJournal:
    """Open for one process at a time. evaluations: by architecture and seed, those of the table and those since."""

    def __init__(
        self, output: Path, identity: TableIdentity, architectures: Mapping[str, Architecture], read: ReadIdentity
    ) -> None:
        self.output = output
        self._read = read
        self._architectures = architectures
        self.folder = journal_folder(output)
        self._file_path = self.folder / _FILE
        self.sessions: list[TableSession] = []
        self.evaluations: dict[Cell, Evaluation] = {}
        self._read_output(identity)
        self._read_own(identity)
        self._file = self._file_path.open("ab")

    def begin(self, session: TableSession) -> None:
        """Note who goes on with the table."""
        self.sessions.append(session)
        self._append(_Line(session=session))

    def add(self, evaluation: Evaluation) -> None:
        """Force a finished training to disk; raises RecordsError when it cannot be written."""
        # First, so that Ctrl-C while the disk is at work does not part the two.
        self.evaluations[Cell.of(evaluation)] = evaluation
        self._append(_Line(evaluation=evaluation))

    def close(self) -> None:
        # What is still unwritten has been reported: each append writes its own line or raises.
        with suppress(OSError):
            self._file.close()

    def remove(self) -> None:
        """The table holds all that the journal does; the folder goes when the journal is closed."""
        self.close()
        self._file_path.unlink()

    def _append(self, line: _Line) -> None:
        try:
            self._file.write(line.encoded())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RecordsError(f"cannot write {self._file_path}: {reason(error, with_file=False)}") from error

    def _read_output(self, identity: TableIdentity) -> None:
        if not self.output.exists():
            return
        try:
            table = read_table(self.output)
        except RecordsError as error:
            raise UserError(f"{error}. Give another --output") from None
        self._check(table.metadata.identity, identity)
        self.sessions.extend(table.metadata.sessions)
        self._add_evaluations(table.evaluations())

    def _read_own(self, identity: TableIdentity) -> None:
        if not self._file_path.exists():
            write_atomically(self._file_path, _Line(identity=identity).encoded())
            return
        cut_torn_line(self._file_path)
        with self._file_path.open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = _Line.model_validate(evaluation_of_table_line(json.loads(text), self._architectures))
                except KeyError:
                    raise UserError(trainings_lost_message(self.output, "trainings of other architectures")) from None
                except ValueError as error:
                    raise RecordsError(f"{self._file_path} is damaged in line {number}: {error}") from error
                if line.identity:
                    self._check(line.identity, identity)
                if line.session and line.session not in self.sessions:
                    self.sessions.append(line.session)
                self._add_evaluations([line.evaluation] if line.evaluation else [])

    def _add_evaluations(self, evaluations: Iterable[Evaluation]) -> None:
        self.evaluations |= {Cell.of(evaluation): evaluation for evaluation in evaluations}

    def _check(self, found: TableIdentity, wanted: TableIdentity) -> None:
        if differences := self._read(found).differences(self._read(wanted)):
            raise UserError(
                f"{self.output} was begun with other settings or images: {', '.join(differences)}. Put them back, give another "
                f"--output, or delete {self.output.name} and {self.folder.name} beside it to begin anew"
            )


def trainings_lost_message(output: Path, which: str) -> str:
    """Why a table that holds trainings which are not asked for now is not continued."""
    return (
        f"{output} has {which} than are asked for now, which would be lost. Give as many --seeds and "
        f"--limit-architectures as before, or more; or another --output"
    )


def journal_folder(output: Path) -> Path:
    """Where the journal of the table at `output` lies."""
    return output.with_name(f"{output.name}.progress")


def check_output(output: Path) -> None:
    """Raises UserError where no table can be written; the folder that `output` is to lie in is made."""
    try:
        if output.is_dir():
            raise UserError(f"{printable(output)} is a folder; --output names the parquet file to write")
        probe = output.with_name(f".{output.name}.writable")
        output.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"no table can be written to {printable(output)}: {reason(error)}") from None


@contextmanager
def open_journal(
    output: Path,
    identity: TableIdentity,
    architectures: Mapping[str, Architecture],
    read: ReadIdentity = lambda identity: identity,
) -> Iterator[TableJournal]:
    """The journal of the table at `output`, made where there is none; no other process has it meanwhile.

    architectures: by digest, those that the table may have. read: makes the identity of a table, maybe of another version,
    comparable with today's.

    `check_output` is to have passed it. Raises UserError where it holds something else, StudyBusyError where another process
    makes it, RecordsError where the journal is damaged.
    """
    folder = journal_folder(output)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        folder.mkdir(exist_ok=True)
        lock.acquire()
    except Timeout:
        raise StudyBusyError(f"another process is making {output}. Wait for it, or stop it with Ctrl-C") from None
    except OSError as error:
        raise UserError(f"no table can be made in {folder}: {reason(error)}") from None
    try:
        try:
            journal = TableJournal(output, identity, architectures, read)
        except OSError as error:
            raise UserError(f"the trainings in {folder} cannot be read and written: {reason(error)}") from error
        try:
            yield journal
        finally:
            journal.close()
    finally:
        lock.release()
        if not (folder / _FILE).exists():  # refused, or complete
            shutil.rmtree(folder, ignore_errors=True)
