"""A new study on disk: its folder with all that is fixed before the first trial."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

from cbam_search.architecture import OwnBackbone
from cbam_search.durable import write_atomically
from cbam_search.records.folder import StudyFolder
from cbam_search.records.manifest import LatencySummary, StudyManifest
from cbam_search.records.studies import create_study_folder
from cbam_search.running.latency_meter import LatencyJob
from cbam_search.study.config import StudyConfig, without_secret_comments, written_settings
from cbam_search.study.environment import hardware, versions
from cbam_search.study.input_file import folder_of
from cbam_search.study.preparation import Preparation, summary


def create_study(prepared: Preparation, text: str, yaml_file: Path, latency: LatencyJob | None) -> StudyFolder:
    """The study's folder with all that is fixed before the first trial; the manifest, written last, makes it a study."""
    config = prepared.config
    folder = create_study_folder(config.records.folder, config.name)
    write_atomically(folder.given_yaml, without_secret_comments(text))
    # Paths stay as they are written: a project may move.
    write_atomically(folder.resolved_yaml, written_settings(text, yaml_file.name))
    folder.write_manifest(_manifest(prepared, config, folder, yaml_file, latency))
    return folder


def _manifest(
    prepared: Preparation, config: StudyConfig, folder: StudyFolder, yaml_file: Path, latency: LatencyJob | None
) -> StudyManifest:
    yaml_folder = folder_of(yaml_file)
    return StudyManifest(
        name=folder.path.name,
        study_id=uuid.uuid4().hex,
        created_seconds=time.time(),
        yaml_folder=str(yaml_folder),
        yaml_folder_from_study=os.path.relpath(yaml_folder, folder.path),
        yaml_file=yaml_file.name if yaml_file.is_file() else None,
        versions=versions(),
        hardware=hardware(),
        data=summary(prepared.data),
        objectives=prepared.objectives,
        trials=config.search.trials,
        hours=config.search.stop.hours,
        epochs=config.training.epochs,
        seed=config.seed,
        distinct_architectures=prepared.space.count(),
        parameters=len(prepared.space.parameters),
        published=tuple(design.label for design in prepared.published.trained),
        excluded=tuple(design.label for design in prepared.published.excluded),
        backbone_source=next((entry.source for entry in prepared.space.backbones if isinstance(entry, OwnBackbone)), None),
        latency=latency_summary(latency, config) if latency else None,
        warm_start=prepared.warm_start,
        weights=weights_digests(prepared),
    )


def latency_summary(latency: LatencyJob, config: StudyConfig) -> LatencySummary:
    """How latencies are measured, for the records."""
    return LatencySummary(
        device=latency.device.name,
        batch_size=latency.config.batch_size,
        precision=latency.config.precision,
        threads=config.resources.threads if latency.device.kind == "cpu" else 0,
    )


def weights_digests(prepared: Preparation) -> dict[str, str]:
    """SHA-256 of the weights that trainings start from, by the name of the backbone."""
    return {backbone.name: weights.sha256 for backbone, weights in prepared.pretrained.items()}
