"""What Python users call: `launch`, `resume`, `open_study`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cbam_search.caller import left_as_found
from cbam_search.errors import CbamSearchError, StudyBusyError, StudyFailedError, StudyInterrupted
from cbam_search.metrics import LATENCY
from cbam_search.own_code import CodePermission
from cbam_search.records.folder import StudyFolder
from cbam_search.records.lease import take_lease
from cbam_search.records.storage import require_server
from cbam_search.records.storage_url import require_sqlite_folder
from cbam_search.records.studies import find_study
from cbam_search.running.cluster import TrialResources, cluster_running
from cbam_search.running.latency_meter import LatencyJob
from cbam_search.running.nodes import latency_device
from cbam_search.safe_text import shell_word
from cbam_search.study.beforehand import check_beforehand
from cbam_search.study.budgets import budget_asked
from cbam_search.study.config import StudyConfig, read_config_of, read_study_config
from cbam_search.study.driver import Driven, drive
from cbam_search.study.input_file import folder_of
from cbam_search.study.new_study import create_study
from cbam_search.study.places import require_files, require_utf8
from cbam_search.study.preparation import prepare
from cbam_search.study.same_study import (
    check_same_data,
    check_same_device,
    check_same_settings,
    check_same_source,
    check_same_weights,
)
from cbam_search.study.screen import Screen, Silence
from cbam_search.study.space_from_config import require_code_permission
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
    require_sqlite_folder(config.records.storage, folder_of(Path(space)))
    require_server(config.records.storage)
    prepared = prepare(config, code=code)
    warm_start = resolve_warm_start(prepared)
    if warm_start:
        prepared = replace(prepared, warm_start=warm_start.recorded)
    with cluster_running(config.resources, verbose=verbose) as resources:
        latency = _latency_job(config, resources)
        folder = create_study(prepared, text, Path(space), latency)
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
        check_same_settings(folder, manifest, config)
        check_same_source(manifest, config, code)
        require_files(folder, config)
        prepared = replace(prepare(config, code=code), warm_start=manifest.warm_start)
        check_same_data(manifest, prepared)
        check_same_weights(manifest, prepared)
        with cluster_running(config.resources, verbose=verbose) as resources:
            latency = _latency_job(config, resources)
            check_same_device(manifest, latency, config)
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
