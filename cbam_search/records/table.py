"""A tabulated benchmark: a whole small space, trained with several seeds, in one parquet file; torch is not needed to read it.

One row a training, that is an architecture and a seed; the rows of one architecture differ in `seed` and the columns after it:

| column | type | what |
| --- | --- | --- |
| `digest` | string | the architecture's, see docs/architecture.md |
| `label` | string | its published name, or the backbone with its kinds counted |
| `architecture` | string | canonical, as JSON |
| `parameters` | string, may be null | the flat parameters that a sampler gives for it, as JSON; null outside the space |
| `published` | bool | whether it is one of the published designs that the YAML's baselines ask for |
| `gflops` | double | 1e9 multiply-adds of convolutions and linear layers, one image |
| `params` | int64 | number of parameters |
| `seed` | int64 | of initial weights, batch order and augmentation |
| `state` | string | `complete` or `diverged` |
| `validation_accuracy` | list of float, one an epoch | in [0, 1]; NaN from the epoch on in which a training diverged |
| `train_loss` | list of float, one an epoch | mean over the epoch; NaN as above |
| `seconds` | list of float, one an epoch | of training and validation; 0 after the epoch in which a training diverged |
| `processor_seconds` | list of float, one an epoch | the same, as processor time: waiting for a busy core does not count |
| `test_accuracy` | float | of the last epoch, in [0, 1]; NaN where it diverged |

The file's metadata hold, under the key `cbam_search`, a `TableMetadata` as JSON.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from cbam_search.architecture import Architecture
from cbam_search.durable import write_atomically
from cbam_search.errors import RecordsError
from cbam_search.metrics import TEST_ACCURACY, Measured
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.training.epoch import Epoch

TABLE_SCHEMA_VERSION = 1
METADATA_KEY = b"cbam_search"
Floats = npt.NDArray[np.float64]

_CURVE = pa.list_(pa.float32())
_SCHEMA = pa.schema(
    [
        pa.field("digest", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("architecture", pa.string(), nullable=False),
        pa.field("parameters", pa.string()),
        pa.field("published", pa.bool_(), nullable=False),
        pa.field("gflops", pa.float64(), nullable=False),
        pa.field("params", pa.int64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("validation_accuracy", _CURVE, nullable=False),
        pa.field("train_loss", _CURVE, nullable=False),
        pa.field("seconds", _CURVE, nullable=False),
        pa.field("processor_seconds", _CURVE, nullable=False),
        pa.field("test_accuracy", pa.float32(), nullable=False),
    ]
)
_CURVES = ("validation_accuracy", "train_loss", "seconds", "processor_seconds")
_OF_AN_ARCHITECTURE = ("digest", "label", "architecture", "parameters", "published", "gflops", "params")


class TableEntry(BaseModel):
    """An architecture of a table. architecture: canonical, as JSON. parameters: None outside the space."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    label: str
    architecture: str
    parameters: dict[str, str | int | float] | None
    published: bool
    gflops: float
    params: int

    def decoded(self) -> Architecture:
        return Architecture.model_validate_json(self.architecture)


class Cell(NamedTuple):
    """Which training of a table: the architecture's digest, and the seed."""

    digest: str
    seed: int

    @classmethod
    def of(cls, evaluation: Evaluation) -> Cell:
        assert evaluation.architecture is not None
        return cls(evaluation.architecture.digest, evaluation.seed)


class TableIdentity(BaseModel):
    """What a training depends on: trainings of one identity may stand in one table.

    settings: the YAML's sections that decide what is trained and how, as resolved. data, test: fingerprints of train and
    validation, and of the test images and their labels. weights: SHA-256 of the files that trainings start from, by backbone.
    device: `cpu` or `cuda`; threads: torch's. numerics_version: of this package's own part in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture_schema_version: int
    settings: dict[str, Any]
    data: str
    test: str
    weights: dict[str, str] = {}
    device: str
    threads: int
    numerics_version: int = 1

    def differences(self, other: TableIdentity) -> tuple[str, ...]:
        """Names of what is not the same, as the YAML calls it."""
        names = [name for name in self.settings | other.settings if self.settings.get(name) != other.settings.get(name)]
        mine, others = self.model_dump(exclude={"settings"}), other.model_dump(exclude={"settings"})
        words = {
            "data": "the images",
            "test": "the test images",
            "weights": "backbone.weights",
            "numerics_version": "how this version trains",
        }
        return (*names, *(words.get(name, name) for name in mine if mine[name] != others[name]))


class TableData(BaseModel):
    """The images. train, validation, test: how many. image_size: (height, width)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int
    validation: int
    test: int
    class_names: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]


class TableSession(BaseModel):
    """One run of the command that added to the table. started_seconds: since 1970. workers: processes at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    started_seconds: float
    hardware: str
    versions: dict[str, str]
    workers: int


class TableMetadata(BaseModel):
    """Where a table comes from.

    complete: whether every training that was asked for is in it. seeds: those asked for. epochs: of every training.
    architectures: how many were asked for, published designs included. distinct_architectures: of the whole space, before
    constraints. limit: of `--limit-architectures`. objectives: with the fixed ends of their axes, as a study of this YAML has
    them. bounds: of the constraints; architectures beyond them are not trained. yaml: as given; resolved_yaml: with every
    default, paths as given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    complete: bool
    name: str
    seeds: tuple[int, ...]
    epochs: int
    architectures: int
    distinct_architectures: int
    limit: int | None
    data: TableData
    objectives: tuple[ObjectiveAxis, ...]
    bounds: dict[str, float]
    identity: TableIdentity
    sessions: tuple[TableSession, ...]
    yaml: str
    resolved_yaml: str


@dataclass(frozen=True)
class Table:
    """A table in memory. Of A architectures, S seeds and E epochs:

    entries: (A,). trained: (A, S), which trainings the table has; all of them where it is complete. validation_accuracy,
    train_loss, seconds, processor_seconds: (A, S, E). test_accuracy: (A, S). What was not trained is NaN throughout, what
    diverged has NaN for accuracies and losses.
    """

    metadata: TableMetadata
    entries: tuple[TableEntry, ...]
    trained: npt.NDArray[np.bool_]
    validation_accuracy: Floats
    train_loss: Floats
    seconds: Floats
    processor_seconds: Floats
    test_accuracy: Floats

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.metadata.seeds

    @cached_property
    def rows(self) -> dict[str, int]:
        """The place of each architecture in `entries` and in the arrays, by digest."""
        return {entry.digest: place for place, entry in enumerate(self.entries)}

    def evaluations(self) -> Iterable[Evaluation]:
        """Every training of the table, by architecture and seed."""
        for place, column in zip(*np.nonzero(self.trained), strict=True):
            yield self._evaluation(int(place), int(column))

    def _evaluation(self, place: int, column: int) -> Evaluation:
        accuracies = self.validation_accuracy[place, column]
        losses, seconds, processor = (curve[place, column] for curve in (self.train_loss, self.seconds, self.processor_seconds))
        diverged = bool(np.isnan(self.test_accuracy[place, column]))
        # The epoch in which a training diverged took its time, and has no figures.
        begun = int(np.isfinite(accuracies).sum()) + diverged
        epochs = tuple(
            Epoch(
                number + 1,
                {"train_loss": float(losses[number]), "accuracy": float(accuracies[number])},
                float(seconds[number]),
                float(processor[number]),
            )
            for number in range(min(begun, self.metadata.epochs))
        )
        metrics = {} if diverged else {TEST_ACCURACY: Measured(value=float(self.test_accuracy[place, column]))}
        state = TrialState.DIVERGED if diverged else TrialState.COMPLETE
        return Evaluation(
            architecture=self.entries[place].decoded(),
            seed=self.seeds[column],
            epochs=epochs,
            outcome=Outcome(state=state, metrics=metrics, epochs=len(epochs) - diverged, seconds=float(seconds.sum())),
        )


def write_table(path: Path, metadata: TableMetadata, entries: Sequence[TableEntry], evaluations: Iterable[Evaluation]) -> None:
    """Write what there is of a table, whole or not at all, by architecture in the order of `entries` and by seed.

    evaluations: of these entries, each at most once. Raises OSError.
    """
    order = {entry.digest: place for place, entry in enumerate(entries)}
    by_cell = {Cell.of(evaluation): evaluation for evaluation in evaluations}
    rows = [
        _row(entries[order[cell.digest]], by_cell[cell], metadata.epochs)
        for cell in sorted(by_cell, key=lambda cell: (order[cell.digest], cell.seed))
    ]
    key_values = {METADATA_KEY: metadata.model_dump_json().encode()}
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(key_values)), buffer, compression="zstd", compression_level=15
    )
    write_atomically(path, buffer.getvalue())


def _row(entry: TableEntry, evaluation: Evaluation, epochs: int) -> dict[str, Any]:
    """A training as the columns have it: curves as long as a full training."""
    assert evaluation.outcome is not None
    found = list(evaluation.epochs)
    missing = epochs - len(found)
    of_architecture = entry.model_dump()
    if of_architecture["parameters"] is not None:
        of_architecture["parameters"] = json.dumps(of_architecture["parameters"])
    test_accuracy = evaluation.outcome.value(TEST_ACCURACY)
    return of_architecture | {
        "seed": evaluation.seed,
        "state": evaluation.state.value,
        "validation_accuracy": [epoch.metrics["accuracy"] for epoch in found] + [math.nan] * missing,
        "train_loss": [epoch.metrics["train_loss"] for epoch in found] + [math.nan] * missing,
        "seconds": [epoch.seconds for epoch in found] + [0.0] * missing,
        "processor_seconds": [epoch.processor_seconds or 0.0 for epoch in found] + [0.0] * missing,
        TEST_ACCURACY: math.nan if test_accuracy is None else test_accuracy,
    }


def read_table(path: Path) -> Table:
    """The table in a parquet file; raises RecordsError for a file that is none, or of a later schema."""
    try:
        stored = pq.read_table(path)
        text = (stored.schema.metadata or {})[METADATA_KEY]
        version = json.loads(text).get("schema_version")
        if version != TABLE_SCHEMA_VERSION:
            raise RecordsError(f"{path} has schema version {version}; this version of cbam-search reads {TABLE_SCHEMA_VERSION}")
        metadata = TableMetadata.model_validate_json(text)
        return _arranged(metadata, stored.cast(_SCHEMA.with_metadata(stored.schema.metadata)).to_pylist())
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise RecordsError(f"{path} is not a table that cbam-search can read: {error}") from error


def _arranged(metadata: TableMetadata, rows: list[dict[str, Any]]) -> Table:
    entries: dict[str, TableEntry] = {}
    for row in rows:
        if row["digest"] not in entries:
            fields = {name: row[name] for name in _OF_AN_ARCHITECTURE}
            fields["parameters"] = None if row["parameters"] is None else json.loads(row["parameters"])
            entries[row["digest"]] = TableEntry.model_validate(fields)
    places = {digest: place for place, digest in enumerate(entries)}
    columns = {seed: column for column, seed in enumerate(metadata.seeds)}
    shape = (len(entries), len(columns))
    curves = {name: np.full((*shape, metadata.epochs), np.nan) for name in _CURVES}
    test_accuracy, trained = np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
    for row in rows:
        cell = places[row["digest"]], columns[row["seed"]]
        trained[cell] = True
        test_accuracy[cell] = row["test_accuracy"]
        for name, curve in curves.items():
            curve[cell] = row[name]
    return Table(metadata, tuple(entries.values()), trained, test_accuracy=test_accuracy, **curves)
