"""Driving a study: from an open folder to a closed one, whether it is new or resumed."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from cbam_search.counted import counted
from cbam_search.errors import CbamSearchError, LeaseLostError, RecordsError, StudyFailedError
from cbam_search.records.events import StudyClosed
from cbam_search.records.folder import StudyFolder
from cbam_search.records.lease import Lease
from cbam_search.records.settling import settle
from cbam_search.records.storage_errors import storage_errors
from cbam_search.records.storage_url import storage_name
from cbam_search.records.study_records import StudyRecords, open_records
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.report.replayed import with_replays
from cbam_search.running.cluster import TrialResources
from cbam_search.running.conductor import Conductor
from cbam_search.running.interruption import EXIT_CODE_OF_STOP, Interruption
from cbam_search.running.latency_meter import LatencyJob
from cbam_search.running.run import run_trials
from cbam_search.safe_text import shell_word
from cbam_search.search.proposer import NoCandidate
from cbam_search.study.assembly import conductor_of, executor_of
from cbam_search.study.budgets import Budget, apply
from cbam_search.study.log_file import messages_kept
from cbam_search.study.preparation import Preparation
from cbam_search.study.screen import Screen
from cbam_search.tracking.uploader import Uploader
from cbam_search.training.numerics import NUMERICS_VERSION

UPLOAD_SECONDS_AT_MOST = 60.0
UPLOAD_SECONDS_WHEN_STOPPED = 5.0
"""After a signal or an error: batch systems kill half a minute after SIGTERM, and a disk that is full may be MLflow's too. Also
where no server has answered while the study ran."""
SIGNAL_SECONDS = 1.0
"""Between the end of another process by a signal and the same signal to this one."""


@dataclass(frozen=True)
class Driven:
    """How a driver ended. exit_code: of the command, where a signal or a request stopped it; 0 otherwise."""

    closed: StudyClosed
    exit_code: int = 0


def drive(
    folder: StudyFolder,
    prepared: Preparation,
    resources: TrialResources,
    latency: LatencyJob | None,
    lease: Lease,
    *,
    resumed: bool,
    screen: Screen,
    verbose: bool,
    budget: Budget | None = None,
) -> Driven:
    """Run what remains of the study in `folder`; the caller holds its lock and its lease, and has Ray running where needed.

    latency: where it is an objective or a constraint. budget: of a study that is resumed. Raises LeaseLostError, with nothing
    more written, where another driver has taken over.
    """
    config = prepared.config
    where = storage_name(config.records.storage, folder)
    closed: StudyClosed | None = None
    uploader = Uploader(folder, config.tracking, check=lease.check)
    with (
        messages_kept(folder, verbose=verbose),
        Interruption(lease.stop_requested, lambda: screen.reader_is_gone) as interruption,
    ):
        with storage_errors(where):
            records = open_records(folder, config.records.storage, check=lease.check)
        records.be_patient(interruption)
        try:
            for note in (budget and apply(budget, records), _other_numerics(records)):
                if note:
                    screen.note(note)
            with screen.display(records, resources) as listener:
                records.subscribe(listener)
                records.opened(resumed=resumed)
                uploader.start()
                closed = with_replays(
                    _run(records, prepared, resources, latency, lease, interruption, screen), records.trials.values()
                )
                records.closed(closed)
            for problem in prepared.evaluations.problems if prepared.evaluations else ():
                screen.note(problem)
            for path in sorted(folder.evaluations.glob("*/*.damaged")):
                screen.note(f"{path} was damaged and is put aside: what it held was trained again")
            if records.view.weights_removed:
                screen.note(_weights_removed(records, config.records.keep_gib))
        finally:
            in_time = closed is not None and closed.reason != "interrupted"
            seconds = UPLOAD_SECONDS_AT_MOST if in_time and not uploader.never_answered else UPLOAD_SECONDS_WHEN_STOPPED
            if not uploader.stop(seconds, unless=interruption) and not uploader.taken_over:
                screen.note(_mlflow_is_behind(uploader, folder))
            records.close()
    lease.release(closed.reason)
    return Driven(closed, (interruption.exit_code or EXIT_CODE_OF_STOP) if closed.reason == "interrupted" else 0)


def _run(
    records: StudyRecords,
    prepared: Preparation,
    resources: TrialResources,
    latency: LatencyJob | None,
    lease: Lease,
    interruption: Interruption,
    screen: Screen,
) -> StudyClosed:
    where = storage_name(prepared.config.records.storage, records.folder)
    with storage_errors(where):
        settled = settle(records)
        conductor = conductor_of(records, prepared, resources, latency)
        conductor.take_over(settled)
    for problem in settled.problems:
        screen.note(problem)
    try:
        with storage_errors(where), executor_of(records, prepared, resources, latency, lease.guard.check) as executor:
            interrupted = run_trials(conductor, executor, interruption)
    except KeyboardInterrupt:
        interrupted = True
    except LeaseLostError:
        raise
    except Exception as error:
        # What was waited for may be why it was interrupted; or the signal ended Ray's processes too.
        if isinstance(error, RecordsError | StudyFailedError) and _was_interrupted(interruption):
            screen.note(str(error))
            return _interrupted(interruption)
        message = str(error) if isinstance(error, CbamSearchError) else f"{type(error).__name__}: {error}"
        with suppress(RecordsError):  # the ledger may be on the disk that is full
            records.closed(StudyClosed(reason="failed", message=message))
        screen.note(
            f"what was finished is kept. To go on once that is mended: cbam-search resume {shell_word(records.folder.run)}"
        )
        raise
    return _interrupted(interruption) if interrupted else _ended(conductor)


def _was_interrupted(interruption: Interruption) -> bool:
    """Whether the study was to stop anyway. Batch systems and `timeout` signal Ray's processes and this one in any order."""
    until = time.monotonic() + SIGNAL_SECONDS
    while not interruption() and time.monotonic() < until:
        time.sleep(0.05)
    return interruption()


def _interrupted(interruption: Interruption) -> StudyClosed:
    return StudyClosed(reason="interrupted", message=f"stopped by {interruption.by or 'Ctrl-C'}")


def _ended(conductor: Conductor) -> StudyClosed:
    """Why a study that was not interrupted has ended."""
    records, proposer = conductor.records, conductor.proposer
    if conductor.stopped_by is not None:
        return StudyClosed(reason="failed", message=str(conductor.stopped_by))
    conductor.weights.closed()
    if message := _nothing_was_feasible(records) or _all_diverged(records):
        return StudyClosed(reason="failed", message=message)
    if conductor.exhausted is NoCandidate.SPACE_EXHAUSTED:
        return StudyClosed(
            reason="space_exhausted", message=f"no new feasible architecture is left after {records.started} trainings"
        )
    if proposer.ended is not None:
        message = f"{proposer.ended.message}; {records.started} of at most {proposer.trials} trainings are done"
        return StudyClosed(reason=proposer.ended.reason, message=message)
    return StudyClosed(reason="trials", message=f"all {proposer.trials} trainings are done")


def _nothing_was_feasible(records: StudyRecords) -> str | None:
    """Why the front is empty, where every network was found too slow or too large before its training; else None."""
    states = {trial.state for trial in records.trials.values()} - {TrialState.DUPLICATE}
    if states != {TrialState.INFEASIBLE}:
        return None
    taken_up = _outcomes(records)
    last = taken_up[-1].reason if taken_up else "beyond the constraints"
    return (
        f"nothing was trained: all {counted(len(taken_up), 'network')} that were taken up turned out infeasible before their "
        f"training, the last because of this: {last}. Raise the bounds in constraints, or launch a space of smaller networks"
    )


def _all_diverged(records: StudyRecords) -> str | None:
    """Why the front is empty, where no training's loss stayed finite; else None."""
    trained = _outcomes(records)
    if not trained or any(outcome.state is not TrialState.DIVERGED for outcome in trained):
        return None
    return (
        f"no training reached its end: all {counted(len(trained), 'training')} diverged, the last because of this: "
        f"{trained[-1].reason}. Launch a study with a lower training.lr, a longer warm-up or gradient_clip_norm"
    )


def _outcomes(records: StudyRecords) -> list[Outcome]:
    """Of trials that were started and have ended, in their order."""
    return [trial.outcome for trial in records.trials.values() if trial.was_trained and trial.outcome]


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
        f"{', '.join(map(str, others)) or 'another'}): {counted(kept, 'finished result')} stay, marked in the front, and "
        f"{counted(cut_off, 'training')} that were cut off begin again. Figures of two versions need not compare"
    )


def _weights_removed(records: StudyRecords, keep_gib: float) -> str:
    return (
        f"weights of {counted(len(records.view.weights_removed), 'trial')} were removed while the study went on, to stay "
        f"within records.keep_gib ({keep_gib:g} GiB), the oldest that were far from the front first"
    )


def _mlflow_is_behind(uploader: Uploader, folder: StudyFolder) -> str:
    return (
        f"MLflow has not got {uploader.remaining()} events yet ({uploader.problem or 'it is slow'}); nothing is lost. "
        f"To send them: cbam-search track {shell_word(folder.run)}"
    )
