"""Driving a study: from an open folder to a closed one, whether it is new or resumed."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from cbam_search.records.events import StudyClosed
from cbam_search.records.folder import StudyFolder
from cbam_search.records.study_records import StudyRecords, open_records
from cbam_search.report.replayed import with_replays
from cbam_search.report.wording import count
from cbam_search.running.cluster import TrialResources
from cbam_search.running.conductor import Conductor
from cbam_search.running.latency import LatencyJob
from cbam_search.running.trainable import TrainingJob
from cbam_search.running.tune_run import run_trials
from cbam_search.search.proposer import NoCandidate, Proposer
from cbam_search.search.rungs import Rungs
from cbam_search.study.budgets import Budget, apply
from cbam_search.study.preparation import Preparation
from cbam_search.study.replays import replays_of
from cbam_search.study.screen import Screen
from cbam_search.tracking.uploader import Uploader
from cbam_search.training.numerics import NUMERICS_VERSION

UPLOAD_SECONDS_AT_MOST = 60.0
CHATTY_LOGGERS = ("ray", "ray.tune", "optuna", "py.warnings")


def drive(
    folder: StudyFolder,
    prepared: Preparation,
    resources: TrialResources,
    latency: LatencyJob | None,
    *,
    resumed: bool,
    screen: Screen,
    verbose: bool,
    budget: Budget | None = None,
) -> StudyClosed:
    """Run what remains of the study in `folder`; the caller holds its lock and has Ray running.

    latency: where it is an objective or a constraint. budget: of a study that is resumed.
    """
    config = prepared.config
    uploader = Uploader(folder, config.tracking)
    with _chatter_to(folder, verbose=verbose):
        records = open_records(folder, config.records.storage)
        try:
            for note in (budget and apply(budget, records), _other_numerics(records)):
                if note:
                    screen.note(note)
            with screen.display(records, resources) as listener:
                records.subscribe(listener)
                records.opened(resumed=resumed)
                uploader.start()
                closed = with_replays(_run(records, prepared, resources, latency, screen), records.trials.values())
                records.closed(closed)
            for problem in prepared.evaluations.problems if prepared.evaluations else ():
                screen.note(problem)
            for path in sorted(folder.evaluations.glob("*/*.damaged")):
                screen.note(f"{path} was damaged and is put aside: what it held was trained again")
            if records.view.weights_removed:
                screen.note(_weights_removed(records, config.records.keep_gib))
        finally:
            if not uploader.stop(UPLOAD_SECONDS_AT_MOST):
                screen.note(_mlflow_is_behind(uploader, folder))
            records.close()
    return closed


def _run(
    records: StudyRecords, prepared: Preparation, resources: TrialResources, latency: LatencyJob | None, screen: Screen
) -> StudyClosed:
    config = prepared.config
    proposer = Proposer(
        records,
        prepared.space,
        prepared.cost.cost,
        config.search,
        seed=config.seed,
        bounds=prepared.bounds,
        published=prepared.published.trained,
        measured_bounds=config.constraints.measured_bounds(),
        warm_start=prepared.warm_start.architectures if prepared.warm_start else (),
    )
    for problem in proposer.problems:
        screen.note(problem)
    conductor = Conductor(
        proposer,
        config.records.keep,
        keep_bytes=config.records.keep_gib * 2**30,
        rungs=_rungs(prepared),
        replays=replays_of(records, prepared, resources, latency),
    )
    job = TrainingJob(
        recipe=config.training,
        seed=config.seed,
        study=records.folder.path,
        keep_weights=config.records.keep != "none",
        keep_predictions=config.records.predictions,
        threads=config.resources.threads,
        on_gpu=resources.gpus > 0,
        code=prepared.code,
        latency=latency,
    )
    try:
        interrupted = run_trials(conductor, prepared.data, job, resources, prepared.pretrained)
    except KeyboardInterrupt:
        interrupted = True
    except Exception as error:
        records.closed(StudyClosed(reason="failed", message=f"{type(error).__name__}: {error}"))
        raise
    conductor.collect_left()
    if interrupted:
        return StudyClosed(reason="interrupted", message="stopped by Ctrl-C")
    if conductor.stopped_by is not None:
        return StudyClosed(reason="failed", message=str(conductor.stopped_by))
    conductor.weights.closed()
    if conductor.exhausted is NoCandidate.SPACE_EXHAUSTED:
        return StudyClosed(
            reason="space_exhausted", message=f"no new feasible architecture is left after {records.started} trainings"
        )
    if proposer.ended is not None:
        message = f"{proposer.ended.message}; {records.started} of at most {proposer.trials} trainings are done"
        return StudyClosed(reason=proposer.ended.reason, message=message)
    return StudyClosed(reason="trials", message=f"all {proposer.trials} trainings are done")


def _rungs(prepared: Preparation) -> Rungs | None:
    """Where trials are stopped early."""
    config = prepared.config
    if config.search.scheduler.kind == "none":
        return None
    return Rungs(
        config.search.scheduler,
        epochs=config.training.epochs,
        bounds=prepared.bounds,
        measured_bounds=config.constraints.measured_bounds(),
    )


def _other_numerics(records: StudyRecords) -> str | None:
    """What the reader should know where an earlier session trained with code that computes otherwise."""
    trained = [trial.outcome for trial in records.trials.values() if trial.outcome and trial.outcome.epochs > 0]
    cut_off = sum(records.view.is_of_other_numerics(number) for number in records.view.unfinished())
    others = sorted({outcome.numerics_version for outcome in trained} - {NUMERICS_VERSION})
    if not others and not cut_off:
        return None
    kept = sum(outcome.numerics_version != NUMERICS_VERSION for outcome in trained)
    return (
        f"this version of cbam-search trains otherwise than the one before (numerics version {NUMERICS_VERSION}, before "
        f"{', '.join(map(str, others)) or 'another'}): {count(kept, 'finished result')} stay, marked in the front, and "
        f"{count(cut_off, 'training')} that were cut off begin again. Figures of two versions need not compare"
    )


def _weights_removed(records: StudyRecords, keep_gib: float) -> str:
    return (
        f"weights of {count(len(records.view.weights_removed), 'trial')} were removed while the study went on, to stay within "
        f"records.keep_gib ({keep_gib:g} GiB), the oldest that were far from the front first"
    )


def _mlflow_is_behind(uploader: Uploader, folder: StudyFolder) -> str:
    return (
        f"MLflow has not got {uploader.remaining()} events yet ({uploader.problem or 'it is slow'}); nothing is lost. "
        f"To send them: cbam-search track {shlex.quote(folder.run)}"
    )


@contextmanager
def _chatter_to(folder: StudyFolder, *, verbose: bool) -> Iterator[None]:
    """Keep what Ray and Optuna log in the study's own file; with `verbose`, show it too."""
    handler = logging.FileHandler(folder.log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in CHATTY_LOGGERS]
    before = [(logger, list(logger.handlers), logger.propagate) for logger in loggers]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.handlers = [*logger.handlers, handler] if verbose else [handler]
        logger.propagate = verbose
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()
