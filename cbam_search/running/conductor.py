"""What happens between a decision and its execution, whoever executes: the same for Ray and for tests without it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cbam_search.errors import StudyFailedError
from cbam_search.records.events import EpochFinished
from cbam_search.records.ledger import read_events
from cbam_search.records.results import read_epochs
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.records.weights import collect_weights, discard
from cbam_search.running.replays import Replays
from cbam_search.search.proposer import NoCandidate, Proposer
from cbam_search.search.rungs import Rungs

SAME_ERROR_AT_MOST = 3
"""After so many failures in a row for the same reason the study stops: the next trial would fail too."""

REPLAYING_SECONDS_A_CALL = 1.0
"""After that long the caller is let go for a moment: it has trials to watch, and Ctrl-C to heed."""


@dataclass
class _Trained:
    """Of one trial, so far: its last epoch with its metrics, and the seconds of all epochs."""

    epoch: int = 0
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


class Conductor:
    """Hands out trials, takes in epochs and outcomes, and keeps weights and failures in check."""

    def __init__(
        self,
        proposer: Proposer,
        keep: Literal["front", "all", "none"],
        *,
        rungs: Rungs | None = None,
        replays: Replays | None = None,
    ) -> None:
        """rungs: where trials are stopped early; filled from the ledger here. replays: what other studies trained, where the
        evaluation cache is on.
        """
        self.proposer = proposer
        self._replays = replays
        self.records = proposer.records
        self.rungs = rungs
        self._keep: Literal["front", "all", "none"] = keep
        self._trained: dict[int, _Trained] = {}
        self._read_ledger()
        self._failures: list[str] = []
        self.exhausted: NoCandidate | None = None
        self.stopped_by: StudyFailedError | None = None
        self._collect_weights(self.records.trials.values())
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
        if proposal.attempts == 1:
            discard(self.records.folder, proposal.number)
        return proposal

    def _stopped_late(self, trial: Trial) -> bool:
        """Whether a trial ended now because a driver had died between its arrival at a rung and its verdict."""
        if trial.attempts == 1:
            return False
        self._catch_up(trial.number)
        return self.stop_if_behind(trial.number)

    def _replayed(self, trial: Trial) -> bool:
        """Whether the trial ended without a training; one that stands at a checkpoint goes on from there."""
        if self._replays is None or self.records.folder.checkpoint(trial.number).exists():
            return False
        outcome = self._replays.lay_down(trial)
        if outcome is not None:
            self.finish(trial.number, outcome)
        return outcome is not None

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float], seconds: float, *, replayed: bool = False) -> None:
        """An epoch was trained; one that was reported before, or of a trial that ended, is not recorded again."""
        known = self._trained.get(number, _Trained())
        if epoch > known.epoch and self.records.trials[number].state is TrialState.RUNNING:
            self._note_epoch(number, epoch, metrics, seconds)
            self.records.epoch(number, epoch, metrics, seconds, replayed=replayed)

    def epochs_recorded(self, number: int) -> int:
        """The last epoch of a trial that is in the ledger; 0 before the first."""
        return self._trained.get(number, _Trained()).epoch

    def reason_to_stop(self, number: int) -> str | None:
        """Why a running trial is to be stopped at the rung that it has arrived at; None where it goes on.

        Asked after each epoch, before the trial trains the next.
        """
        if self.rungs is None or self.records.trials[number].state is not TrialState.RUNNING:
            return None
        return self.rungs.reason_to_stop(number, self.records.manifest.objectives)

    def stop(self, number: int, reason: str) -> None:
        """A running trial was stopped, after the last epoch that is recorded of it."""
        trained = self._trained.get(number, _Trained())
        metrics, epochs, seconds = dict(trained.metrics), trained.epoch, trained.seconds
        self.finish(
            number,
            Outcome(state=TrialState.STOPPED, metrics=metrics, epochs=epochs, seconds=seconds, reason=reason),
        )

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
        before = self.records.front.members
        self.proposer.finish(number, outcome)
        self._forget(number)
        front = set(self.records.front.numbers)
        # Those still on the front have only what they keep.
        left = [trial for trial in before if trial.number not in front]
        self._collect_weights([self.records.trials[number], *left])
        self._note_failure(number, outcome)

    def collect_left(self) -> None:
        """Once no worker is left. One that was not used again after its trial was stopped saves a checkpoint as it goes."""
        self._collect_weights(trial for trial in self.records.trials.values() if trial.state is TrialState.STOPPED)

    def _read_ledger(self) -> None:
        """How far each trial was trained, and what the rungs hold."""
        for event, _ in read_events(self.records.folder.ledger):
            if not isinstance(event, EpochFinished) or event.trial not in self.records.trials:
                continue
            if event.epoch > self._trained.get(event.trial, _Trained()).epoch:
                self._note_epoch(event.trial, event.epoch, event.metrics, event.seconds)
        for number, trained in self._trained.items():
            if self.rungs is not None:
                self.rungs.went_on(number, trained.epoch)
            if self.records.trials[number].state is not TrialState.RUNNING:
                self._forget(number)

    def _forget(self, number: int) -> None:
        """What is in the records of a trial that ended need not stay in memory, in a study of thousands."""
        self._trained[number] = _Trained(self._trained.get(number, _Trained()).epoch)

    def _note_epoch(self, number: int, epoch: int, metrics: Mapping[str, float], seconds: float) -> None:
        known = self._trained.get(number, _Trained())
        self._trained[number] = _Trained(epoch, known.seconds + seconds, metrics)
        if self.rungs is not None:
            candidate = self.records.trials[number].candidate
            self.rungs.epoch(number, candidate, epoch, metrics, self.records.manifest.objectives)

    def _collect_weights(self, trials: Iterable[Trial]) -> None:
        collect_weights(self.records.folder, trials, self.records.front.numbers, self._keep)

    def _catch_up(self, number: int, *, replayed: bool = False) -> None:
        """Record the epochs that a worker trained but that no driver heard of."""
        for row in read_epochs(self.records.folder.epochs(number)):
            metrics = {name: value for name, value in row.items() if name not in ("epoch", "seconds")}
            self.epoch(number, int(row["epoch"]), metrics, row["seconds"], replayed=replayed)

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
