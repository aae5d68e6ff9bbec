"""`tabulate`: train a whole small space with several seeds, and keep every epoch of it in one parquet file.

Benchmarks replay searches on such a table. Unlike a search, tabulating opens the test split: once a training, at its end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cbam_search.architecture import Architecture, Backbone
from cbam_search.architecture.architecture import SCHEMA_VERSION
from cbam_search.cost.model import CostModel
from cbam_search.data.load import load
from cbam_search.data.test_split import load_test
from cbam_search.errors import NotAvailableError, RecordsError, ResourceError, UserError
from cbam_search.records.table import (
    TableData,
    TableEntry,
    TableIdentity,
    TableMetadata,
    TableSession,
    TableTraining,
    write_table,
)
from cbam_search.records.table_journal import TableJournal, check_output, open_journal
from cbam_search.report.tabulation_lines import TabulationLines
from cbam_search.running.tabulation import TableJob, TableTask
from cbam_search.running.worker_pool import run_tasks
from cbam_search.search.reference import objective_axes
from cbam_search.search.whole_space import feasible_architectures
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig, read_study_config
from cbam_search.study.environment import hardware, versions
from cbam_search.study.preparation import published_of
from cbam_search.study.pretrained import pretrained_of
from cbam_search.study.yaml_file import parse_yaml

RECORDED = ("accuracy", "gflops", "params")
"""Objectives whose values a table has."""
SNAPSHOT_SECONDS = 600.0
"""So often what is there is written to the table itself."""


@dataclass(frozen=True)
class Tabulation:
    """How it ended. trained: trainings of this run. interrupted: by Ctrl-C; the table is then not complete."""

    output: Path
    metadata: TableMetadata
    trained: int
    interrupted: bool


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
    trained is not trained again, however it ended. workers: processes; by default as many as the machine has room for.
    limit: train a uniform random sample of so many architectures. note: told of progress, a line at a time.

    Raises UserError before anything is trained, StudyFailedError when a training fails for another reason than divergence.
    """
    config, text = read_study_config(Path(space))
    output = Path(output)
    _check(config)
    check_output(output)
    task = _prepare(config, text, Path(space), seeds=seeds, limit=limit, allow_code=allow_code)
    at_once = workers or _fitting(config, on_gpu=task.job.on_gpu)
    with open_journal(output, task.identity) as journal:
        return _Making(task, journal, at_once, note).run()


@dataclass(frozen=True)
class _Prepared:
    """metadata: without sessions. tasks: all trainings, those of one architecture after each other."""

    job: TableJob
    identity: TableIdentity
    metadata: TableMetadata
    entries: tuple[TableEntry, ...]
    tasks: tuple[TableTask, ...]


def _prepare(config: StudyConfig, text: str, path: Path, *, seeds: int, limit: int | None, allow_code: bool) -> _Prepared:
    if isinstance(config.backbone, OwnBackboneConfig):
        raise NotAvailableError(
            f"{path}: tabulate trains networks of the families, and backbone.module names your own, which is not available in "
            f"this version"
        )
    data = load(config.dataset, seed=config.seed, allow_code=allow_code)
    test = load_test(config.dataset, data, seed=config.seed, allow_code=allow_code)
    space = Space(config.backbone, config.attention, in_channels=data.channels, classes=data.classes)
    cost, bounds = CostModel(data.image_size), config.constraints.bounds()
    published = published_of(config, space, cost)
    pretrained, files = pretrained_of(config, space), config.backbone.weights_files()
    architectures = feasible_architectures(space, cost.cost, bounds, published, limit=limit, seed=config.seed)
    designs = {design.digest for design in published.trained}
    entries = tuple(_entry(architecture, space, cost, architecture.digest in designs) for architecture in architectures)
    on_gpu = _on_gpu(config)
    job = TableJob(
        recipe=config.training,
        data=data,
        test=test.split,
        threads=config.resources.threads,
        on_gpu=on_gpu,
        weights={entry: files[entry.name] for entry in space.backbones if isinstance(entry, Backbone)} if files else {},
    )
    identity = TableIdentity(
        architecture_schema_version=SCHEMA_VERSION,
        settings=_settings(config),
        data=data.fingerprint,
        test=test.fingerprint,
        weights={backbone.name: weights.sha256 for backbone, weights in pretrained.items()},
        device="cuda" if on_gpu else "cpu",
        threads=job.threads,
    )
    all_seeds = tuple(range(config.seed, config.seed + seeds))
    metadata = TableMetadata(
        complete=False,
        name=config.name,
        seeds=all_seeds,
        epochs=config.training.epochs,
        architectures=len(entries),
        distinct_architectures=space.count(),
        limit=limit,
        data=TableData(
            train=len(data.train),
            validation=len(data.validation),
            test=len(test.split),
            class_names=data.class_names,
            channels=data.channels,
            image_size=data.image_size,
        ),
        objectives=objective_axes(
            config.objectives, space=space, cost=cost, bounds=bounds, validation_labels=data.validation.labels
        ),
        bounds=bounds,
        identity=identity,
        sessions=(),
        yaml=text,
        # Read anew, so that paths stay as given: a table is passed on.
        resolved_yaml=parse_yaml(text, str(path), StudyConfig).resolved_yaml(),
    )
    tasks = tuple(TableTask(entry.digest, entry.label, entry.architecture, seed) for entry in entries for seed in all_seeds)
    return _Prepared(job, identity, metadata, entries, tasks)


class _Making:
    """A table under way, the journal open."""

    def __init__(self, prepared: _Prepared, journal: TableJournal, workers: int, note: Callable[[str], None]) -> None:
        self._prepared = prepared
        self._journal = journal
        self._note = note
        keys = {(task.digest, task.seed) for task in prepared.tasks}
        if others := [key for key in journal.trainings if key not in keys]:
            raise UserError(
                f"{journal.output} has {len(others):,} trainings of other seeds or architectures than are asked for now, which "
                f"would be lost. Give as many --seeds and --limit-architectures as before, or more; or another --output"
            )
        self._left = tuple(task for task in prepared.tasks if (task.digest, task.seed) not in journal.trainings)
        self._workers = max(1, min(workers, len(self._left)))
        self._lines = TabulationLines(prepared.metadata, len(prepared.tasks) - len(self._left), self._workers)

    def run(self) -> Tabulation:
        self._note(self._lines.header())
        trained, interrupted = 0, False
        if self._left:
            self._journal.begin(
                TableSession(started_seconds=time.time(), hardware=hardware(), versions=versions(), workers=self._workers)
            )
            try:
                for training in self._trainings():
                    trained += 1
                    if line := self._lines.finished(training):
                        self._note(line)
            except KeyboardInterrupt:
                interrupted = True
        metadata = self._write()
        if metadata.complete:
            self._journal.remove()
        self._note(self._lines.closing(self._journal.output, complete=metadata.complete))
        return Tabulation(self._journal.output, metadata, trained, interrupted)

    def _trainings(self) -> Iterator[TableTraining]:
        """Each training when it is on disk."""
        written = time.monotonic()
        with closing(run_tasks(self._prepared.job.start, self._left, workers=self._workers)) as results:
            for _, training in results:
                self._journal.add(training)
                yield training
                if time.monotonic() - written > SNAPSHOT_SECONDS:
                    self._write()
                    written = time.monotonic()

    def _write(self) -> TableMetadata:
        """The table with what there is."""
        asked = self._prepared.metadata
        complete = len(self._journal.trainings) == len(self._prepared.tasks)
        metadata = asked.model_copy(update={"complete": complete, "sessions": tuple(self._journal.sessions)})
        with _readable(self._journal.output):
            write_table(self._journal.output, metadata, self._prepared.entries, self._journal.trainings.values())
        return metadata


@contextmanager
def _readable(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecordsError(
            f"{output} cannot be written: {error.strerror}. What was trained is kept in the folder beside it; the same command "
            f"goes on from there"
        ) from error


def _entry(architecture: Architecture, space: Space, cost: CostModel, published: bool) -> TableEntry:
    found = cost.cost(architecture)
    return TableEntry(
        digest=architecture.digest,
        label=architecture.label,
        architecture=architecture.canonical_json,
        parameters=space.encode(architecture),
        published=published,
        gflops=found.gflops,
        params=found.params,
    )


def _settings(config: StudyConfig) -> dict[str, Any]:
    """The sections that decide what is trained and how; images and weights are known by their content, not by their paths."""
    document = config.model_dump(mode="json", by_alias=True)
    document["backbone"].pop("weights", None)
    sections = {name: document[name] for name in ("seed", "backbone", "attention", "objectives", "constraints", "training")}
    return sections | {f"search.{name}": document["search"][name] for name in ("baselines", "published_backbones")}


def _check(config: StudyConfig) -> None:
    others = [name for name in config.objectives if name not in RECORDED]
    if others or config.constraints.measured_bounds():
        named = ", ".join([*others, *(f"a constraint on {name}" for name in config.constraints.measured_bounds())])
        raise UserError(f"a table records {', '.join(RECORDED)}; the YAML asks for {named} too. Take that out to tabulate it")


def _on_gpu(config: StudyConfig) -> bool:
    gpus = torch.cuda.device_count()
    wanted = config.resources.gpus_of_a_trial(gpus)
    if wanted > gpus:
        raise ResourceError(f"resources.gpus_per_trial is {wanted:g}, but this machine has {gpus} GPUs")
    return wanted > 0


def _fitting(config: StudyConfig, *, on_gpu: bool) -> int:
    """As many workers as `launch` would run trials at once on this machine."""
    resources = config.resources
    fits = resources.fitting(len(os.sched_getaffinity(0)), torch.cuda.device_count() if on_gpu else 0)
    return max(1, min(fits, resources.max_concurrent or fits))
