"""What Python users call: `launch`, `resume`, `open_study`."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from cbam_search.architecture import OwnBackbone
from cbam_search.caller import left_as_found
from cbam_search.durable import write_atomically
from cbam_search.errors import (
    CbamSearchError,
    ConfigError,
    ResourceError,
    StudyBusyError,
    StudyFailedError,
    StudyInterrupted,
    UserError,
)
from cbam_search.identity import differences
from cbam_search.metrics import LATENCY
from cbam_search.own_code import CodePermission
from cbam_search.own_source import source_digest, source_files
from cbam_search.records.folder import StudyFolder, create_study_folder, find_study
from cbam_search.records.lease import take_lease
from cbam_search.records.manifest import LatencySummary, StudyManifest
from cbam_search.records.storage import require_server
from cbam_search.running.cluster import TrialResources, cluster_running
from cbam_search.running.latency_meter import LatencyJob
from cbam_search.running.nodes import latency_device
from cbam_search.safe_text import shell_word
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.study.beforehand import check_beforehand
from cbam_search.study.budgets import budget_asked
from cbam_search.study.config import StudyConfig, read_config_of, read_study_config, without_secret_comments, written_settings
from cbam_search.study.driver import Driven, drive
from cbam_search.study.environment import hardware, versions
from cbam_search.study.input_file import folder_of
from cbam_search.study.places import require_files, require_utf8
from cbam_search.study.preparation import Preparation, prepare, summary
from cbam_search.study.screen import Screen, Silence
from cbam_search.study.space_from_config import code_folder_of, require_code_permission
from cbam_search.study.start_from import resolve_warm_start
from cbam_search.study.study import Study, open_study, read_study

__all__ = ["Study", "launch", "open_study", "resume"]


def launch(space: str | Path, *, allow_code: bool = False, verbose: bool = False, screen: Screen | None = None) -> Study:
    """Run the study that the YAML file `space` describes, and return it with its front.

    allow_code: whether the YAML may name the user's own code. verbose: let Ray and Optuna talk. screen: what is shown, nothing
    by default. Raises UserError (a ValueError) before anything is started or written, StudyFailedError when the same error came
    again and again, and StudyInterrupted (a KeyboardInterrupt) once a study that was stopped is closed.
    """
    with _the_only_one(), left_as_found():
        return _launch(space, CodePermission.of(allow_code), verbose, screen or Silence())


def _launch(space: str | Path, code: CodePermission, verbose: bool, screen: Screen) -> Study:
    config, text = read_study_config(Path(space))
    require_utf8(Path(space).resolve(), config.records.folder.absolute())
    require_code_permission(config, code)
    check_beforehand(config)
    require_server(config.records.storage)
    prepared = prepare(config, code=code)
    warm_start = resolve_warm_start(prepared)
    if warm_start:
        prepared = replace(prepared, warm_start=warm_start.recorded)
    with cluster_running(config.resources, verbose=verbose) as resources:
        latency = _latency_job(config, resources)
        folder = _create(prepared, text, Path(space), latency)
        screen.note(f"study {folder.path.name} in {folder.path}")
        for note in prepared.notes:
            screen.note(note)
        if warm_start:
            screen.note(warm_start.note)
        with folder.lock(), take_lease(folder, note=screen.note) as lease:
            driven = drive(folder, prepared, resources, latency, lease, resumed=False, screen=screen, verbose=verbose)
    return _close(folder, driven, screen)


def resume(
    run: str | Path = "latest",
    *,
    trials: int | None = None,
    hours: float | None = None,
    allow_code: bool = False,
    verbose: bool = False,
    screen: Screen | None = None,
) -> Study:
    """Go on with a study that was interrupted or killed, or beyond its budget: no finished trial is lost, none trained twice.

    run: a study's name, its folder, or `latest`. trials, hours: what the study may take in all, from now on, in place of
    `search.trials` and `search.stop.hours`. The rest as for `launch`. Raises UserError when data, weights or the source of your
    own backbone have changed, and where the study has taken that much already.
    """
    with _the_only_one(), left_as_found():
        return _resume(find_study(str(run)), trials, hours, CodePermission.of(allow_code), verbose, screen or Silence())


def _resume(
    folder: StudyFolder, trials: int | None, hours: float | None, code: CodePermission, verbose: bool, screen: Screen
) -> Study:
    manifest = folder.read_manifest()
    config = read_config_of(folder)
    budget = budget_asked(manifest, config, trials=trials, hours=hours)
    with folder.lock(), take_lease(folder, note=screen.note) as lease:
        _check_same_settings(folder, manifest, config)
        _check_same_source(manifest, config, code)
        require_files(folder, config)
        prepared = replace(prepare(config, code=code), warm_start=manifest.warm_start)
        _check_same_data(manifest, prepared)
        _check_same_weights(manifest, prepared)
        with cluster_running(config.resources, verbose=verbose) as resources:
            latency = _latency_job(config, resources)
            _check_same_device(manifest, latency, config)
            driven = drive(
                folder, prepared, resources, latency, lease, resumed=True, screen=screen, verbose=verbose, budget=budget
            )
    return _close(folder, driven, screen)


_one_study = threading.Lock()


@contextmanager
def _the_only_one() -> Iterator[None]:
    """One study at a time: torch's random numbers, Ray's connection and signals are of the whole process."""
    if not _one_study.acquire(blocking=False):
        raise StudyBusyError("this process drives a study already. Wait until it has ended, or start another process")
    try:
        yield
    finally:
        _one_study.release()


def _latency_job(config: StudyConfig, resources: TrialResources) -> LatencyJob | None:
    """Where latency is used; raises ResourceError where the cluster has not the device, or several."""
    if config.latency is None:
        return None
    device = latency_device(config.latency.device, resources)
    return LatencyJob(config.latency, device, config.constraints.measured_bounds().get(LATENCY))


def _create(prepared: Preparation, text: str, yaml_file: Path, latency: LatencyJob | None) -> StudyFolder:
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
        latency=_latency_summary(latency, config) if latency else None,
        warm_start=prepared.warm_start,
        weights=_weights(prepared),
    )


def _latency_summary(latency: LatencyJob, config: StudyConfig) -> LatencySummary:
    return LatencySummary(
        device=latency.device.name,
        batch_size=latency.config.batch_size,
        precision=latency.config.precision,
        threads=config.resources.threads if latency.device.kind == "cpu" else 0,
    )


def _check_same_settings(folder: StudyFolder, manifest: StudyManifest, config: StudyConfig) -> None:
    """What candidates are and how they are judged is fixed; where they run, how many and what is kept may change.

    Both YAMLs are read by today's models, so that a key that has come since means in both what it does by default.
    """
    try:
        began_with = read_config_of(folder, as_launched=True)
    except ConfigError as error:
        made_by = manifest.versions.get("cbam-search", "another version")
        raise UserError(
            f"study {manifest.name} was made by cbam-search {made_by}, and this version cannot read its settings:\n{error}"
        ) from None
    sections = differences(began_with, config)
    changed = [name for section in sections for name in _changed_in(section, began_with, config)]
    if changed:
        raise UserError(
            f"{folder.given_yaml} was edited since the study began: {', '.join(changed)}. A study keeps its settings; "
            f"put them back, or launch a new study"
        )


def _changed_in(section: str, began_with: StudyConfig, config: StudyConfig) -> list[str]:
    """`training.epochs`, or the section itself where it is no more than one setting."""
    before, now = getattr(began_with, section), getattr(config, section)
    if not isinstance(before, BaseModel) or type(before) is not type(now):
        return [section]
    return [f"{section}.{name}" for name in differences(before, now)]


def _check_same_source(manifest: StudyManifest, config: StudyConfig, code: CodePermission) -> None:
    """Before anything of it is run; raises CodeNotAllowedError too."""
    if not isinstance(config.backbone, OwnBackboneConfig):
        return
    folder = code_folder_of(config.backbone, code)
    if source_digest(config.backbone.module, folder) != manifest.backbone_source:
        files = ", ".join(str(file) for file in source_files(config.backbone.module, folder).values())
        raise UserError(
            f"the source of {config.backbone.module} has changed since study {manifest.name} began ({files}), so that its "
            f"networks would not be the same. Put it back, or launch a new study"
        )


def _check_same_data(manifest: StudyManifest, prepared: Preparation) -> None:
    if prepared.data.fingerprint != manifest.data.fingerprint:
        raise UserError(
            f"the data of study {manifest.name} have changed since it began (fingerprint {manifest.data.fingerprint[:12]}, "
            f"now {prepared.data.fingerprint[:12]}). Put the old data back, or launch a new study"
        )


def _check_same_device(manifest: StudyManifest, latency: LatencyJob | None, config: StudyConfig) -> None:
    if latency is None or manifest.latency is None:
        return
    now = _latency_summary(latency, config)
    if now != manifest.latency:
        raise ResourceError(
            f"study {manifest.name} measured latencies in {manifest.latency.text}; here they would be in {now.text}, and the "
            f"figures would not compare. Resume it on the same device with the same settings, or launch a new study"
        )


def _check_same_weights(manifest: StudyManifest, prepared: Preparation) -> None:
    now = _weights(prepared)
    changed = [name for name in sorted({*manifest.weights, *now}) if manifest.weights.get(name) != now.get(name)]
    if changed:
        raise UserError(
            f"the weights that study {manifest.name} started from (backbone.weights) have changed since it began, those of "
            f"{', '.join(changed)}. Put the old files back, or launch a new study"
        )


def _weights(prepared: Preparation) -> dict[str, str]:
    return {backbone.name: weights.sha256 for backbone, weights in prepared.pretrained.items()}


def _close(folder: StudyFolder, driven: Driven, screen: Screen) -> Study:
    closed, run = driven.closed, shell_word(folder.run)
    stopped = StudyInterrupted(
        f"study {folder.path.name} was {closed.message}. To go on: cbam-search resume {run}",
        run=folder.run,
        exit_code=driven.exit_code,
    )
    try:
        study = read_study(folder)
    except CbamSearchError as error:
        if closed.reason != "interrupted":
            raise
        # Its storage may be away, which is why it was stopped.
        screen.note(f"{error}. {stopped}")
        raise stopped from None
    if closed.reason == "failed":
        raise StudyFailedError(f"{closed.message}. What it found so far: cbam-search front {run}")
    screen.closed(closed, study)
    if closed.reason == "interrupted":
        raise stopped
    return study
