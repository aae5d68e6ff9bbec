"""What happens between a decision and its execution, whoever executes: the same for Ray and for tests without it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping

from cbam_search.errors import StudyFailedError
from cbam_search.metrics import Measured
from cbam_search.records.results import read_epochs, read_measured
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.records.weights import Keep, WeightsKeeper
from cbam_search.running.replays import Replays
from cbam_search.search.proposer import NoCandidate, Proposer
from cbam_search.search.rungs import Rungs
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION

SAME_ERROR_AT_MOST = 3
"""After so many failures in a row for the same reason the study stops: the next trial would fail too."""

REPLAYING_SECONDS_A_CALL = 1.0
"""After that long the caller is let go for a moment: it has trials to watch, and Ctrl-C to heed."""


class Conductor:
    """Hands out trials, takes in epochs and outcomes, and keeps weights and failures in check."""

    def __init__(
        self,
        proposer: Proposer,
        keep: Keep,
        *,
        keep_bytes: float = float("inf"),
        rungs: Rungs | None = None,
        replays: Replays | None = None,
    ) -> None:
        """keep, keep_bytes: see `WeightsKeeper`. rungs: where trials are stopped early; filled from the records here. replays:
        what other studies trained, where the evaluation cache is on.
        """
        self.proposer = proposer
        self._replays = replays
        self.records = proposer.records
        self.rungs = rungs
        if rungs is not None:
            rungs.fill(self.records.view, self.records.manifest.objectives, without=proposer.begin_anew)
        for number in proposer.begin_anew:
            shutil.rmtree(self.records.folder.evaluation(self.records.trials[number].evaluation), ignore_errors=True)
        self._failures: list[str] = []
        self.exhausted: NoCandidate | None = None
        self.stopped_by: StudyFailedError | None = None
        self.weights = WeightsKeeper(self.records, keep, at_most_bytes=keep_bytes)
        for number, outcome in proposer.left_behind.items():
            self.finish(number, outcome)

    def next(self) -> Trial | None:
        """The next trial to train, or None when there is none: for good where `exhausted` or `stopped_by` says why.

        What another study has trained ends here and now, and the next is looked for, for a moment. The cache is asked before
        what an earlier driver left is read: it may have died in the middle of a replay, whose epochs are none of this study's.
        """
        until = time.monotonic() + REPLAYING_SECONDS_A_CALL
        while (trial := self._proposed()) is not None and (self._replayed(trial) or self._stopped_late(trial)):
            if time.monotonic() > until:
                return None
        return trial

    def _proposed(self) -> Trial | None:
        if self.stopped_by is not None:
            return None
        proposal = self.proposer.next()
        if isinstance(proposal, NoCandidate):
            self.exhausted = proposal if proposal is not NoCandidate.NOT_YET else None
            return None
        return proposal

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
        outcome = self._replays.lay_down(trial)
        if outcome is not None:
            self.finish(trial.number, outcome)
        return outcome is not None

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
        self.finish(number, outcome.with_errors(self.records.manifest.data.validation))

    def stop_if_behind(self, number: int) -> bool:
        """Ask, and do what the answer is."""
        reason = self.reason_to_stop(number)
        if reason is not None:
            self.stop(number, reason)
        return reason is not None

    def lost(self, number: int) -> Trial:
        """A worker died and the trial goes on elsewhere."""
        self._catch_up(number)
        return self.proposer.start_again(number)

    def finish(self, number: int, outcome: Outcome) -> None:
        """A trial ended; a second report of the same end changes nothing."""
        if self.records.trials[number].state is not TrialState.RUNNING:
            return
        self._catch_up(number, replayed=outcome.replayed_from is not None)
        if self._replays is not None:
            # Before it is recorded, and its weights may go: the other way round a crash would keep it from other studies.
            self._replays.keep(self.records.trials[number], outcome)
        self.proposer.finish(number, outcome)
        self.weights.ended(self.records.trials[number])
        self._note_failure(number, outcome)

    def collect_left(self) -> None:
        """Once no worker is left. One that was not used again after its trial was stopped saves a checkpoint as it goes."""
        for trial in self.records.trials.values():
            if trial.state is TrialState.STOPPED:
                self.weights.ended(trial)

    def _catch_up(self, number: int, *, replayed: bool = False) -> None:
        """Record what a worker measured and trained but no driver heard of."""
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
