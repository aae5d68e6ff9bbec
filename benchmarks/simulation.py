"""Searches replayed on a table of real trainings, on a fake clock: with a study's own proposer, conductor, rungs and records,
run by the simulated executor.

Nothing but the training is replaced. An architecture's curve is that of one recorded seed, and an epoch takes the processor
seconds that it took. Optuna's storage is in memory and the study's folder in RAM where there is such a place: what they cost
is no part of what is simulated.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from optuna.storages import InMemoryStorage

from cbam_search.architecture import Architecture
from cbam_search.cost.model import CostModel
from cbam_search.metrics import Measured
from cbam_search.records.events import EpochFinished, Event, TrialFinished
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import Ledger
from cbam_search.records.manifest import DataSummary, StudyManifest
from cbam_search.records.settling import settle
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.table import Table
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.conductor import Conductor
from cbam_search.running.executors.simulated import SimulatedExecutor, Steps
from cbam_search.running.run import run_trials
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.search.config import SearchConfig
from cbam_search.search.proposer import Proposer
from cbam_search.search.rungs import Rungs
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig
from cbam_search.study.yaml_file import parse_yaml
from cbam_search.training.epoch import Epoch

Floats = npt.NDArray[np.float64]
RAM = Path("/dev/shm")


@dataclass(frozen=True)
class Setting:
    """A table with the space that it is of."""

    table: Table

    @cached_property
    def config(self) -> StudyConfig:
        return parse_yaml(self.table.metadata.resolved_yaml, self.table.metadata.name, StudyConfig)

    @cached_property
    def space(self) -> Space:
        data = self.table.metadata.data
        return Space(self.config.backbone, self.config.attention, in_channels=data.channels, classes=len(data.class_names))

    @cached_property
    def cost(self) -> CostModel:
        return CostModel(self.table.metadata.data.image_size)

    def manifest(self, trials: int) -> StudyManifest:
        made = self.table.metadata
        data = DataSummary(
            fingerprint=made.identity.data,
            train=made.data.train,
            validation=made.data.validation,
            test=made.data.test,
            class_names=made.data.class_names,
            channels=made.data.channels,
            image_size=made.data.image_size,
            mean=(0.0,) * made.data.channels,
            std=(1.0,) * made.data.channels,
            storage="table",
            notes=(),
        )
        return StudyManifest(
            name="simulated",
            study_id="0" * 32,
            created_seconds=0.0,
            yaml_folder="/",
            versions={},
            hardware="",
            data=data,
            objectives=made.objectives,
            trials=trials,
            epochs=made.epochs,
            distinct_architectures=made.distinct_architectures,
            parameters=len(self.space.parameters),
            published=(),
        )


@dataclass(frozen=True)
class Simulated:
    """Full trainings of one search in the order in which they ended, n of them.

    rows: (n,), which of the table's architectures. seconds: (n,), of the fake clock. epochs, gflop_epochs: (n,), trained by all
    workers up to then, stopped trials included. started: trainings started.
    """

    rows: npt.NDArray[np.int64]
    seconds: Floats
    epochs: Floats
    gflop_epochs: Floats
    started: int


def simulate(
    setting: Setting,
    config: SearchConfig,
    draws: npt.NDArray[np.int64],
    *,
    workers: int,
    epochs_at_most: int,
    seed: int,
    rungs: Callable[[Setting, SearchConfig], Rungs | None],
    published: Sequence[Architecture] = (),
) -> Simulated:
    """One search. draws: (A,), which recorded seed each architecture's training has. published: trained first, and whole."""
    table = setting.table
    with _folder() as path:
        folder = StudyFolder(path)
        folder.write_manifest(setting.manifest(config.trials))
        records = StudyRecords(folder, folder.read_manifest(), InMemoryStorage(), Ledger(folder.ledger))
        proposer = Proposer(
            records, setting.space, setting.cost.cost, config, seed=seed, bounds=table.metadata.bounds, published=published
        )
        conductor = Conductor(records, proposer, "none", rungs=rungs(setting, config))
        conductor.take_over(settle(records))
        found = _run(conductor, table, draws, workers=workers, epochs_at_most=epochs_at_most)
        records.close()
    return found


def _run(conductor: Conductor, table: Table, draws: npt.NDArray[np.int64], *, workers: int, epochs_at_most: int) -> Simulated:
    """Until so many epochs were trained; a worker that is free takes the next trial at once."""
    last = table.metadata.epochs
    spent = _Spent()

    def steps(task: EvaluationTask) -> Steps:
        row = table.rows[task.architecture.digest]
        for epoch in range(1, last + 1):
            accuracy = float(table.validation_accuracy[row, draws[row], epoch - 1])
            yield float(table.processor_seconds[row, draws[row], epoch - 1]), report_of(epoch, last, accuracy)

    def note(event: Event) -> None:
        """What a trial reports is spent when its event is told, whether the trial then ends or not."""
        if isinstance(event, EpochFinished) or (
            isinstance(event, TrialFinished) and event.outcome.state is TrialState.DIVERGED
        ):
            row = table.rows[conductor.records.trials[event.trial].candidate.digest]
            spent.epochs, spent.gflop_epochs = spent.epochs + 1, spent.gflop_epochs + table.entries[row].gflops
        if isinstance(event, TrialFinished) and event.outcome.state is TrialState.COMPLETE:
            row = table.rows[conductor.records.trials[event.trial].candidate.digest]
            spent.ended.append((row, executor.clock(), spent.epochs, spent.gflop_epochs))

    conductor.records.subscribe(note)
    with SimulatedExecutor(steps, workers=workers) as executor:
        run_trials(conductor, executor, lambda: spent.epochs >= epochs_at_most)
    columns = np.array(spent.ended, dtype=np.float64).reshape(-1, 4)
    rows = columns[:, 0].astype(np.int64)
    return Simulated(rows, columns[:, 1], columns[:, 2], columns[:, 3], conductor.records.started)


@dataclass
class _Spent:
    """By all workers so far. ended: a row each full training."""

    epochs: int = 0
    gflop_epochs: float = 0.0
    ended: list[tuple[int, float, int, float]] = field(default_factory=list)


def report_of(epoch: int, last: int, accuracy: float) -> WorkerReport:
    """What a worker reports of an epoch: where training diverged in it, the epochs before it are the whole ones."""
    if np.isnan(accuracy):
        return WorkerReport(outcome=Outcome(state=TrialState.DIVERGED, epochs=epoch - 1, reason="accuracy not finite"))
    trained = Epoch(epoch, {"accuracy": accuracy}, 0.0)
    if epoch < last:
        return WorkerReport(trained)
    complete = Outcome(state=TrialState.COMPLETE, metrics={"accuracy": Measured(value=accuracy)}, epochs=epoch)
    return WorkerReport(trained, outcome=complete)


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cbam-search-simulation-", dir=RAM if RAM.is_dir() else None))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
