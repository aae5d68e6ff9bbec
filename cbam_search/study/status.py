"""Where a study stands: told from its ledger, its manifest and its lease, which are only read. It may be running."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cbam_search.errors import CbamSearchError, RecordsError, UserError
from cbam_search.records.driver import Clock, Driver, Standing, driver_of
from cbam_search.records.events import StudyClosed, StudyOpened, TrialFinished
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.status import LastError, RunningTrial, StudyState, StudyStatus, UnreadableStudy
from cbam_search.records.trials import TrialState
from cbam_search.records.view import StudyView
from cbam_search.report.tally import Tally


def read_status(folder: StudyFolder, *, clock: Clock = time.time) -> StudyStatus:
    """Where the study stands.

    Raises RecordsError where its ledger or manifest is damaged, UserError where this user may not read them.
    """
    manifest = folder.read_manifest()
    # Before the ledger: a driver that has let go by now has closed the study, and the ledger tells.
    driver, problem = driver_or_problem(folder, clock)
    told = _read_ledger(folder, manifest)
    view, now = told.view, clock()
    state = state_of(driver, view)
    trains = is_driven(driver, view) and is_ready(driver, view)
    tally = Tally(manifest, view)
    return StudyStatus(
        study=folder.path.name,
        run=folder.run,
        folder=str(folder.path),
        state=state,
        message=_message(state, driver, view, told_by_lease=problem is None),
        time_seconds=now,
        created_seconds=manifest.created_seconds,
        driver=driver,
        driver_problem=problem,
        trials_done=view.finished,
        trials_allowed=manifest.trials_allowed,
        states=dict(view.states),
        skipped=dict(view.skipped),
        running=_running(tally) if trains else (),
        cut_off=0 if trains else len(view.unfinished()),
        epochs=manifest.epochs,
        seconds_left=tally.seconds_left(now, told.most_at_once) if trains and view.running else None,
        driven_seconds=view.time.seconds(now if trains else view.time.last_event_seconds),
        hours_allowed=manifest.hours_allowed,
        front=view.front,
        hypervolume=view.hypervolume,
        best_accuracy=_best_accuracy(view),
        last_error=told.last_error,
        needs_allow_code=manifest.backbone_source is not None,
    )


def read_statuses(folders: list[StudyFolder], *, clock: Clock = time.time) -> list[StudyStatus | UnreadableStudy]:
    """Of several studies, the newest first; those that cannot be read last."""
    read: list[StudyStatus] = []
    unreadable: list[UnreadableStudy] = []
    for folder in folders:
        try:
            read.append(read_status(folder, clock=clock))
        except CbamSearchError as error:
            unreadable.append(UnreadableStudy(study=folder.path.name, folder=str(folder.path), problem=str(error)))
    return [*sorted(read, key=lambda status: status.created_seconds, reverse=True), *unreadable]


def is_ready(driver: Driver | None, view: StudyView) -> bool:
    """Whether the last driver has begun: between its lease and its first event it prepares the data and starts Ray."""
    return driver is None or driver.record.since_seconds <= view.time.last_event_seconds


@dataclass
class _Told:
    """What a ledger comes to. most_at_once: trials in training together, since the study was opened last."""

    view: StudyView
    most_at_once: int = 1
    last_error: LastError | None = None


def _read_ledger(folder: StudyFolder, manifest: StudyManifest) -> _Told:
    told = _Told(StudyView(seed=manifest.seed))
    for event, _ in read_events(folder.ledger):
        told.view.apply(event)
        told.most_at_once = max(len(told.view.running), told.most_at_once if told.view.running else 1)
        if isinstance(event, StudyOpened) and told.last_error and told.last_error.trial is None:
            told.last_error = None
        elif isinstance(event, TrialFinished) and event.outcome.state is TrialState.FAILED:
            message = event.outcome.reason or "no reason given"
            told.last_error = LastError(message=message, trial=event.trial, time_seconds=event.time_seconds)
        elif isinstance(event, StudyClosed) and event.reason == "failed":
            told.last_error = LastError(message=event.message, trial=None, time_seconds=event.time_seconds)
    return told


def state_of(driver: Driver | None, view: StudyView) -> StudyState:
    """By who drives the study, and how it was closed if it was.

    A driver that has closed the study uploads to MLflow before it lets go. Until then a complete study is complete, and one to
    be resumed is running, since no other driver may resume it yet.
    """
    if is_driven(driver, view):
        return StudyState.RUNNING
    if view.closed is not None and view.closed.reason not in ("interrupted", "failed"):
        return StudyState.COMPLETE
    if driver is not None and driver.drives:
        return StudyState.RUNNING
    return StudyState.FAILED if view.closed is not None and view.closed.reason == "failed" else StudyState.INTERRUPTED


def is_driven(driver: Driver | None, view: StudyView) -> bool:
    """Whether a driver is in charge that has not closed the study."""
    return driver is not None and driver.drives and (view.closed is None or not is_ready(driver, view))


def driver_or_problem(folder: StudyFolder, clock: Clock = time.time) -> tuple[Driver | None, str | None]:
    """Who took charge last, or why that cannot be told."""
    try:
        return driver_of(folder, clock=clock), None
    except (RecordsError, UserError) as error:
        return None, str(error)


def _best_accuracy(view: StudyView) -> float | None:
    """Of a complete trial."""
    complete = [trial.outcome for trial in view.trials.values() if trial.outcome and trial.state is TrialState.COMPLETE]
    return max((value for outcome in complete if (value := outcome.value("accuracy")) is not None), default=None)


def _message(state: StudyState, driver: Driver | None, view: StudyView, *, told_by_lease: bool) -> str | None:
    """told_by_lease: whether the lease could be read, or there is none."""
    if is_driven(driver, view):
        return None
    if view.closed is not None:
        return f"it is ending: {view.closed.message}" if state is StudyState.RUNNING else view.closed.message
    if not told_by_lease:
        return "it was never closed, and nobody can tell who drives it"
    if driver is None:
        return "it was never closed, and nobody is known to drive it"
    match driver.standing:
        case Standing.DEAD:
            return f"its driver ({driver.record.name}) was killed"
        case Standing.SILENT:
            return f"its driver ({driver.record.name}) was not heard of for ten minutes or more"
        case _:
            return f"its driver ({driver.record.name}) let go of it before its end"


def _running(tally: Tally) -> tuple[RunningTrial, ...]:
    view = tally.view
    return tuple(
        RunningTrial(
            trial=number,
            label=training.trial.candidate.label,
            epoch=training.epoch,
            accuracy=training.accuracy,
            attempt=training.trial.attempts,
            died=view.died.get(number),
            waits_for=view.waiting[number].why if number in view.waiting else None,
        )
        for number, training in tally.running.items()
    )
