"""What workers hand over of a training: what was measured, its epochs, its result, forced to disk before the worker goes on.

A driver that is interrupted or killed may never hear of the last of it; the next one finds it here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter

from cbam_search.durable import cut_torn_line, put_aside, write_atomically
from cbam_search.errors import DamagedFileError
from cbam_search.metrics import Measured
from cbam_search.records.damage import damage_in_words
from cbam_search.records.older import epoch_of_line
from cbam_search.records.trials import Outcome
from cbam_search.training.epoch import EPOCH, Epoch

_MEASURED: TypeAdapter[dict[str, Measured]] = TypeAdapter(dict[str, Measured])


def write_result(path: Path, outcome: Outcome) -> None:
    """Write the outcome of a training, whole or not at all."""
    write_atomically(path, outcome.model_dump_json() + "\n")


def read_result(path: Path) -> Outcome | None:
    """The outcome a worker left, or None where there is none; raises DamagedFileError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Outcome.model_validate_json(content)
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged ({damage_in_words(error)})") from error


def take_result(path: Path) -> Outcome | None:
    """As `read_result`, but a damaged file is renamed and counts as none, so that the training takes place again."""
    try:
        return read_result(path)
    except DamagedFileError:
        put_aside(path)
        return None


def write_measured(path: Path, metrics: Mapping[str, Measured]) -> None:
    """Write what was measured of an architecture before its training."""
    write_atomically(path, _MEASURED.dump_json(dict(metrics)).decode() + "\n")


def read_measured(path: Path) -> dict[str, Measured] | None:
    """The same again; None where there is none, or none that can be read: it is measured again then."""
    try:
        return _MEASURED.validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def write_epochs(path: Path, epochs: Iterable[Epoch]) -> None:
    """Write all epochs of a training, whole or not at all."""
    write_atomically(path, b"".join(EPOCH.dump_json(epoch) + b"\n" for epoch in epochs))


def append_epochs(path: Path, epochs: Iterable[Epoch]) -> None:
    """Add epochs, forced to disk, in the place of a line that a crash or a full disk has torn."""
    lines = b"".join(EPOCH.dump_json(epoch) + b"\n" for epoch in epochs)
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_torn_line(path)
    with path.open("ab") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def read_epochs(path: Path) -> list[Epoch]:
    """The epochs a worker left, repeated where it went on from an older checkpoint; without a line torn by a crash."""
    if not path.exists():
        return []
    whole_lines = path.read_text().split("\n")[:-1]
    # A line torn by a crash may be continued by the next worker.
    return [epoch for line in whole_lines if (epoch := epoch_of_line(line)) is not None]
