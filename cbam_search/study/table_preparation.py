"""What a table is to be: its images, its architectures, and the identity of its trainings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cbam_search.architecture import Architecture, Backbone
from cbam_search.architecture.architecture import SCHEMA_VERSION
from cbam_search.backbones.pretrained import Pretrained
from cbam_search.cost.model import CostModel
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.data.load import load
from cbam_search.data.test_split import load_test
from cbam_search.errors import NotAvailableError, ResourceError, UserError
from cbam_search.identity import identity
from cbam_search.own_code import CodePermission
from cbam_search.records.table import (
    Cell,
    TableData,
    TableEntry,
    TableIdentity,
    TableMetadata,
)
from cbam_search.running.config import cores_here
from cbam_search.running.tabulation import TableJob, table_task
from cbam_search.running.worker_report import EvaluationTask
from cbam_search.search.reference import objective_axes
from cbam_search.search.whole_space import feasible_architectures
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig, without_secret_comments
from cbam_search.study.memory_need import check_image_size, check_memory
from cbam_search.study.preparation import published_of
from cbam_search.study.starting_weights import pretrained_of
from cbam_search.study.yaml_file import parse_yaml
from cbam_search.training.numerics import NUMERICS_VERSION

RECORDED = ("accuracy", "gflops", "params")
"""Objectives whose values a table has."""


@dataclass(frozen=True)
class PreparedTable:
    """metadata: without sessions. tasks: all trainings, those of one architecture after each other."""

    job: TableJob
    identity: TableIdentity
    metadata: TableMetadata
    entries: tuple[TableEntry, ...]
    tasks: dict[Cell, EvaluationTask]


def prepare_table(
    config: StudyConfig, text: str, path: Path, *, seeds: int, limit: int | None, code: CodePermission
) -> PreparedTable:
    """Load the images and list the trainings. Raises UserError, as for an own network."""
    if isinstance(config.backbone, OwnBackboneConfig):
        raise NotAvailableError(
            f"{path}: tabulate trains networks of the families, and backbone.module names your own, which is not available in "
            f"this version"
        )
    check_image_size(config)
    data = load(config.dataset, seed=config.seed, code=code)
    test = load_test(config.dataset, data, seed=config.seed, code=code)
    space = Space(config.backbone, config.attention, in_channels=data.channels, classes=data.classes)
    check_memory(config, space, data.image_size, images=len(data.train))
    cost, bounds = CostModel(data.image_size), config.constraints.bounds()
    published, pretrained = published_of(config, space, cost), pretrained_of(config, space)
    architectures = feasible_architectures(space, cost.cost, bounds, published, limit=limit, seed=config.seed)
    designs = {design.digest for design in published.trained}
    entries = tuple(_entry(architecture, space, cost, architecture.digest in designs) for architecture in architectures)
    job = _job(config, space, data, test.split)
    table_identity = _identity(config, job, pretrained, test.fingerprint)
    all_seeds = tuple(range(config.seed, config.seed + seeds))
    metadata = TableMetadata(
        complete=False,
        name=config.name,
        seeds=all_seeds,
        epochs=config.training.epochs,
        architectures=len(entries),
        distinct_architectures=space.count(),
        limit=limit,
        data=_described(data, test.split),
        objectives=objective_axes(
            config.objectives, space=space, cost=cost, bounds=bounds, validation_labels=data.validation.labels
        ),
        bounds=bounds,
        identity=table_identity,
        sessions=(),
        yaml=without_secret_comments(text),
        # Read anew, so that paths stay as given: a table is passed on.
        resolved_yaml=parse_yaml(text, str(path), StudyConfig).resolved_yaml(),
    )
    tasks = {Cell(design.digest, seed): table_task(design, seed) for design in architectures for seed in all_seeds}
    return PreparedTable(job, table_identity, metadata, entries, tasks)


def _job(config: StudyConfig, space: Space, data: ImageData, test: ImageSplit) -> TableJob:
    files = config.backbone.weights_files()
    return TableJob(
        recipe=config.training,
        data=data,
        test=test,
        threads=config.resources.threads,
        on_gpu=_on_gpu(config),
        weights={entry: files[entry.name] for entry in space.backbones if isinstance(entry, Backbone)} if files else {},
    )


def _identity(config: StudyConfig, job: TableJob, pretrained: Pretrained, test_fingerprint: str) -> TableIdentity:
    return TableIdentity(
        architecture_schema_version=SCHEMA_VERSION,
        settings=_settings(config),
        data=job.data.fingerprint,
        test=test_fingerprint,
        weights={backbone.name: weights.sha256 for backbone, weights in pretrained.items()},
        device="cuda" if job.on_gpu else "cpu",
        threads=job.threads,
        numerics_version=NUMERICS_VERSION,
    )


def _described(data: ImageData, test: ImageSplit) -> TableData:
    return TableData(
        train=len(data.train),
        validation=len(data.validation),
        test=len(test),
        class_names=data.class_names,
        channels=data.channels,
        image_size=data.image_size,
    )


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


DECIDING_SECTIONS = ("seed", "backbone", "attention", "objectives", "constraints", "training")
DECIDING_OF_SEARCH = ("baselines", "published_backbones")


def _settings(config: StudyConfig) -> dict[str, Any]:
    """The sections that decide what is trained and how; images and weights are known by their content, not by their paths."""
    document = config.model_dump(mode="json", by_alias=True)
    document["backbone"].pop("weights", None)
    sections = {name: document[name] for name in DECIDING_SECTIONS}
    return sections | {f"search.{name}": document["search"][name] for name in DECIDING_OF_SEARCH}


def as_read_today(found: TableIdentity) -> TableIdentity:
    """With settings as today's models read them, but for defaults: a key that is new makes no older table another one."""
    sections = {name: value for name, value in found.settings.items() if name in DECIDING_SECTIONS}
    search = {name: found.settings[key] for name in DECIDING_OF_SEARCH if (key := f"search.{name}") in found.settings}
    try:
        config = StudyConfig.model_validate({"name": "table", "dataset": {"source": "digits"}, **sections, "search": search})
    except ValueError:
        return found
    decides = identity(config)
    settings = {name: decides.get(name) for name in DECIDING_SECTIONS}
    settings |= {f"search.{name}": decides.get("search", {}).get(name) for name in DECIDING_OF_SEARCH}
    return found.model_copy(update={"settings": settings})


def check_recorded(config: StudyConfig) -> None:
    """Raise UserError for a YAML that asks for what a table does not record."""
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


def fitting_workers(config: StudyConfig) -> int:
    """As many workers as `launch` would run trials at once on this machine; raises ResourceError when not even one fits."""
    return config.resources.trials_at_once(cores_here(), torch.cuda.device_count(), of="this machine")
