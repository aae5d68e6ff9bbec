"""What a worker leaves behind when a training ends: written and forced to disk before it is reported."""

from __future__ import annotations

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
