"""What a worker leaves behind: each epoch, and the result of a training, forced to disk before they are reported.

A driver that is interrupted or killed may never hear of the last epochs; the next one finds them here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cbam_search.durable import write_atomically
from cbam_search.errors import RecordsError
from cbam_search.records.trials import Outcome


def write_result(path: Path, outcome: Outcome) -> None:
    """Write the outcome of a training, whole or not at all."""
    write_atomically(path, outcome.model_dump_json() + "\n")


def read_result(path: Path) -> Outcome | None:
    """The outcome a worker left, or None where there is none; raises RecordsError when it is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Outcome.model_validate_json(content)
    except ValueError as error:
        raise RecordsError(f"{path} is damaged: {error}") from error


def write_epochs(path: Path, rows: Iterable[Mapping[str, float]]) -> None:
    """Write all epochs of a training, whole or not at all."""
    write_atomically(path, "".join(json.dumps(dict(row)) + "\n" for row in rows))


def append_epoch(path: Path, row: Mapping[str, float]) -> None:
    """Add one epoch: its number, its metrics and its seconds."""
    with path.open("a") as file:
        file.write(json.dumps(dict(row)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_epochs(path: Path) -> list[dict[str, float]]:
    """The epochs a worker left, repeated where it went on from an older checkpoint; without a line torn by a crash."""
    if not path.exists():
        return []
    whole_lines = path.read_text().split("\n")[:-1]
    rows = []
    for line in whole_lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            # Torn by a crash, then continued by the next worker.
            continue
    return rows
