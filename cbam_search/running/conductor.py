"""The conductor: what happens between a decision and its execution, whoever decides and whoever executes.

It alone writes a study's records. The proposer decides what is tried next, the rungs what is stopped, an executor runs it.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from cbam_search.durable import write_atomically
from cbam_search.errors import RecordsError, StudyFailedError
from cbam_search.metrics import Measured
from cbam_search.records.results import read_epochs, read_measured
from cbam_search.records.settling import Settled
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.records.weights import Keep, WeightsKeeper
from cbam_search.running.last_words import WorkerDeath
from cbam_search.running.replays import Replays
from cbam_search.running.worker_report import WorkerReport
from cbam_search.search.proposer import NoCandidate, Proposer
from cbam_search.search.rungs import Rungs
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION

_log = logging.getLogger(__name__)

SAME_ERROR_AT_MOST = 3
"""After so many failures in a row for the same reason the study stops: the next trial would fail too."""

REPLAYING_SECONDS_A_CALL = 1.0
PROPOSALS_A_CALL = 50
"""After so many proposals that need no training, or so long with replays, the caller is let go for a moment: it has trials to
watch, and Ctrl-C to heed."""


class Conductor:
    """Hands out trials, takes in what came of them, and keeps weights and failures in check."""

    def __init__(
        self,
        records: StudyRecords,
        proposer: Proposer,
        keep: Keep,
        *,
        keep_bytes: float = float("inf"),
        rungs: Rungs | None = None,
        replays: Replays | None = None,
    ) -> None:
        """keep, keep_bytes: see `WeightsKeeper`. rungs: where trials are stopped early, still empty. replays: what other
        studies trained, where the evaluation cache is on. Before the first trial call `take_over`.
        """
        self.records = records
        self.proposer = proposer
        self.rungs = rungs
        self.weights = WeightsKeeper(records, keep, at_most_bytes=keep_bytes)
        self._replays = replays
        self._unfinished: list[int] = []
        self._begin_anew: frozenset[int] = frozenset()
        """Trainings that were cut off and begin again at their first epoch, as this version trains otherwise."""
        self._failures: list[str] = []
        self.exhausted: NoCandidate | None = None
        """Why there is nothing to train any more."""
        self.stopped_by: StudyFailedError | None = None

    def take_over(self, settled: Settled) -> None:
        """Go on where earlier drivers left the study; nothing is left in a new one. settled: what `settle` found."""
        self._unfinished = list(settled.cut_off)
        self._begin_anew = frozenset(filter(self.records.view.is_of_other_numerics, settled.cut_off))
        # What begins anew has nothing to go on from.
        for number in self._begin_anew:
            shutil.rmtree(self.records.folder.evaluation(self.records.trials[number].evaluation), ignore_errors=True)
        # The rungs know what arrived, the sampler what ended, before anything more ends.
        if self.rungs is not None:
            self.rungs.fill(self.records.view, self.records.manifest.objectives, without=self._begin_anew)
        for number in settled.untold:
            self.proposer.observe(self.records.trials[number])
        # Files that the last driver had no time to remove.
        self.weights.collect()
        # Trainings that ended behind its back end now, as any other.
        for number, outcome in settled.handed_over.items():
            self.finish(number, outcome)

    @property
    def ended(self) -> bool:
        """Whether no trial will be handed out any more."""
        return self.exhausted is not None or self.stopped_by is not None

    def next(self) -> Trial | None:
        """The next trial to train, recorded as started; None where there is none: for good if `ended` says so, else ask again.

        A trial that another study has trained is replayed here and ends at once; so does one whose verdict at a rung a crash
        had cut off. Then the next one is looked for. The cache comes first: an earlier driver may have died in the middle of a
        replay, whose epochs are not for this study's rungs.
        """
        until = time.monotonic() + REPLAYING_SECONDS_A_CALL
        while (trial := self._started()) is not None and (self._replayed(trial) or self._stopped_late(trial)):
            if time.monotonic() > until:
                return None
        return trial

    def _started(self) -> Trial | None:
        if self.stopped_by is not None:
            return None
        if self._unfinished:
            return self._start_again(self._unfinished.pop(0))
        for _ in range(PROPOSALS_A_CALL):
            # A proposal is a trial of Optuna's study already, which another driver may have taken over.
            self.records.check()
            proposal = self.proposer.propose()
            if isinstance(proposal, NoCandidate):
                self.exhausted = proposal
                return None
            if proposal.skipped is None:
                return self.records.start(proposal.number, proposal.candidate, proposal.parameters)
            self.records.skip(proposal.number, proposal.candidate, proposal.skipped)
            self.proposer.observe(self.records.trials[proposal.number])
        return None

    def _start_again(self, number: int, *, death: WorkerDeath | None = None) -> Trial:
        """A training that lost its worker (death: why), or its driver, goes on, as the next attempt."""
        anew = number in self._begin_anew and death is None
        died = death.reason if death else None
        return self.records.start_again(number, self.proposer.parameters_of(number), anew=anew, died=died)

    def _stopped_late(self, trial: Trial) -> bool:
        """Whether a trial ended now because a driver had died between its arrival at a rung and its verdict."""
        if trial.attempts == 1:
            return False
        self._catch_up(trial.number)
        return self.stop_if_behind(trial.number)

    def _replayed(self, trial: Trial) -> bool:
        """Whether the trial ended without a training; one that stands at a checkpoint goes on from there."""
        if self._replays is None or self.records.folder.checkpoint(trial.evaluation).exists():
            return False
        outcome = self._replays.replay(trial)
        if outcome is not None:
            self.finish(trial.number, outcome)
        return outcome is not None

    def take(self, number: int, report: WorkerReport) -> bool:
        """Take in what a worker reports of a trial; returns whether the trial is to be stopped where it stands.

        Raises RecordsError where what the worker handed over could not be kept.
        """
        if report.problem is not None:
            # It may be that another driver has taken over: then that is the reason.
            self.records.check()
            raise RecordsError(report.problem)
        self.waits(number, report.waits)
        self.measured(number, report.measured)
        if report.epoch is not None:
            self.epoch(number, report.epoch)
        if report.outcome is not None:
            self.finish(number, report.outcome)
            return False
        return report.epoch is not None and self.stop_if_behind(number)

    def measured(self, number: int, metrics: Mapping[str, Measured]) -> None:
        """What was measured of a trial's architecture before its training; the same again is not recorded again."""
        running = self.records.trials[number].state is TrialState.RUNNING
        if metrics and running and self.records.view.measured(number) != metrics:
            self.records.measured(number, metrics)

    def epoch(self, number: int, epoch: Epoch, *, replayed: bool = False) -> None:
        """An epoch was trained; one that was reported before, or of a trial that ended, is not recorded again."""
        if epoch.epoch <= self.epochs_recorded(number) or self.records.trials[number].state is not TrialState.RUNNING:
            return
        if self.rungs is not None:
            candidate, measured = self.records.trials[number].candidate, self.records.view.measured(number)
            self.rungs.epoch(number, candidate, epoch.epoch, epoch.metrics, measured, self.records.manifest.objectives)
        self.records.epoch(number, epoch, replayed=replayed)

    def waits(self, number: int, why: str | None) -> None:
        """A running trial waits for something outside of the study, as others do; why: what for, None where it goes on."""
        if self.records.trials[number].state is TrialState.RUNNING:
            self.records.waits(number, why)

    def epochs_recorded(self, number: int) -> int:
        """The last epoch of a trial that is in the ledger; 0 before the first."""
        return self.records.view.epochs_recorded(number)

    def reason_to_stop(self, number: int) -> str | None:
        """Why a running trial is to be stopped at the rung that it has arrived at; None where it goes on.

        Asked after each epoch, before the trial trains the next.
        """
        if self.rungs is None or self.records.trials[number].state is not TrialState.RUNNING:
            return None
        return self.rungs.reason_to_stop(number, self.records.manifest.objectives)

    def stop(self, number: int, reason: str) -> None:
        """A running trial was stopped, after the last epoch that is recorded of it."""
        view = self.records.view
        epochs = view.epochs(number)
        last = {name: Measured(value=value) for name, value in epochs[-1].metrics.items()} if epochs else {}
        outcome = Outcome(
            state=TrialState.STOPPED,
            metrics=last | view.measured(number),
            epochs=view.epochs_recorded(number),
            seconds=sum(epoch.seconds for epoch in epochs),
            reason=reason,
            numerics_version=NUMERICS_VERSION,
        )
        self.finish(number, outcome)

    def stop_if_behind(self, number: int) -> bool:
        """Stop the trial where it stands if it is behind at a rung; returns whether it was."""
        reason = self.reason_to_stop(number)
        if reason is not None:
            self.stop(number, reason)
        return reason is not None

    def lost(self, number: int, death: WorkerDeath) -> Trial:
        """A worker died and the trial goes on elsewhere."""
        self._note_death(number, death)
        self._catch_up(number)
        return self._start_again(number, death=death)

    def workers_died(self, number: int, death: WorkerDeath) -> None:
        """So many workers died with a trial that it is given up."""
        self._note_death(number, death)
        self.finish(number, Outcome(state=TrialState.FAILED, reason=f"its worker died, again and again: {death.reason}"))

    def _note_death(self, number: int, death: WorkerDeath) -> None:
        """Beside the trial, and in the study's log. What cannot be written is no reason to end a study."""
        _log.warning("a worker died with trial %d: %s", number, death.reason)
        path = self.records.folder.error(self.records.trials[number].evaluation)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, f"A worker died: {death.reason}\n{death.details}\n")

    def finish(self, number: int, outcome: Outcome) -> None:
        """A trial ended; a second report of the same end changes nothing."""
        trial = self.records.trials[number]
        if trial.state is not TrialState.RUNNING:
            return
        self._catch_up(number, replayed=outcome.replayed_from is not None)
        if self._replays is not None:
            # Before it is recorded, and its weights may go: the other way round a crash would keep it from other studies.
            self._replays.keep(trial, outcome)
        # Before the trial that makes them possible is recorded: its front has a hypervolume.
        if references := self.proposer.references_after(replace(trial, outcome=outcome)):
            self.records.fix_references(references)
        self.records.finish(number, outcome)
        self.proposer.observe(self.records.trials[number])
        self.weights.ended(self.records.trials[number])
        self._note_failure(number, outcome)

    def _catch_up(self, number: int, *, replayed: bool = False) -> None:
        """Record what a worker handed over and no driver heard of."""
        folder, evaluation = self.records.folder, self.records.trials[number].evaluation
        self.measured(number, read_measured(folder.measured(evaluation)) or {})
        for epoch in read_epochs(folder.epochs(evaluation)):
            self.epoch(number, epoch, replayed=replayed)

    def _note_failure(self, number: int, outcome: Outcome) -> None:
        if outcome.state is not TrialState.FAILED:
            self._failures.clear()
            return
        self._failures.append(outcome.reason or "no reason given")
        same = [reason for reason in self._failures if reason == self._failures[-1]]
        if len(same) >= SAME_ERROR_AT_MOST:
            self.stopped_by = StudyFailedError(
                f"{len(same)} trials failed for the same reason, the last of them trial {number}: {same[-1]}"
            )
