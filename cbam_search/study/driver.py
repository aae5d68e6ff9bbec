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
from cbam_search.running.cluster import TrialResources
from cbam_search.running.conductor import Conductor
from cbam_search.running.latency import LatencyJob
from cbam_search.running.trainable import TrainingJob
from cbam_search.running.tune_run import run_trials
from cbam_search.search.proposer import NoCandidate, Proposer
from cbam_search.search.rungs import Rungs
from cbam_search.study.preparation import Preparation
from cbam_search.study.replays import replays_of
from cbam_search.study.screen import Screen
from cbam_search.tracking.uploader import Uploader

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
) -> StudyClosed:
    """Run what remains of the study in `folder`; the caller holds its lock and has Ray running.

    latency: where it is an objective or a constraint.
    """
    config = prepared.config
    uploader = Uploader(folder, config.tracking)
    with _chatter_to(folder, verbose=verbose):
        records = open_records(folder, config.records.storage)
        try:
            with screen.display(records, resources) as listener:
                records.ledger.subscribe(listener)
                records.opened(resumed=resumed)
                uploader.start()
                closed = with_replays(_run(records, prepared, resources, latency), records.trials.values())
                records.closed(closed)
            for problem in prepared.evaluations.problems if prepared.evaluations else ():
                screen.note(problem)
        finally:
            if not uploader.stop(UPLOAD_SECONDS_AT_MOST):
                screen.note(_mlflow_is_behind(uploader, folder))
            records.close()
    return closed


def _run(records: StudyRecords, prepared: Preparation, resources: TrialResources, latency: LatencyJob | None) -> StudyClosed:
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
    conductor = Conductor(
        proposer, config.records.keep, rungs=_rungs(prepared), replays=replays_of(records, prepared, resources, latency)
    )
    job = TrainingJob(
        recipe=config.training,
        seed=config.seed,
        study=records.folder.path,
        keep_weights=config.records.keep != "none",
        threads=config.resources.threads,
        on_gpu=resources.gpus > 0,
        code_folder=prepared.code_folder,
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
    if conductor.exhausted is NoCandidate.SPACE_EXHAUSTED:
        return StudyClosed(
            reason="space_exhausted", message=f"no new feasible architecture is left after {records.started} trainings"
        )
    if proposer.ended is not None:
        message = f"{proposer.ended.message}; {records.started} of at most {config.search.trials} trainings are done"
        return StudyClosed(reason=proposer.ended.reason, message=message)
    return StudyClosed(reason="trials", message=f"all {config.search.trials} trainings are done")


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
