"""The driver's inbox: what workers ask about their evaluations and hand over, kept in the study's folder.

Workers hold no truth and see no folder of the study. Each call returns once what it brought is on disk, so a worker that has
its answer may die. One process alone, on the driver's machine, takes the calls of all workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cbam_search.durable import put_aside, replace_durably, write_atomically
from cbam_search.errors import ClaimLostError, HandoverError
from cbam_search.metrics import Measured
from cbam_search.records.folder import EvaluationFile, StudyFolder
from cbam_search.records.results import append_epochs, read_measured, take_result, write_measured, write_result
from cbam_search.records.trials import Outcome
from cbam_search.safe_text import presentable, reason
from cbam_search.training.epoch import Epoch

if TYPE_CHECKING:
    from cbam_search.cost.latency import LatencySetting
    from cbam_search.cost.latency_cache import LatencyCache


@dataclass(frozen=True)
class KnownEvaluation:
    """What the driver has of an evaluation when a worker takes it up.

    claim: the worker names it in every further call.
    outcome: how the training ended, where it did.
    measured: what was measured of its architecture; None where nothing was.
    checkpoint_bytes: size of its checkpoint; 0 where there is none.
    """

    claim: int
    outcome: Outcome | None = None
    measured: dict[str, Measured] | None = None
    checkpoint_bytes: int = 0


@dataclass(frozen=True)
class EvaluationEnd:
    """What a worker hands over when an evaluation has ended.

    epochs: those trained since the last checkpoint that was handed over.
    files: those whose pieces the inbox has.
    traceback: of an error that nobody foresaw.
    """

    outcome: Outcome
    epochs: Sequence[Epoch] = ()
    files: Sequence[EvaluationFile] = ()
    traceback: str | None = None


class Inbox:
    """Writes what workers hand over into one study's folder. Not thread-safe.

    The worker that took an evaluation up last has the claim to it. Calls of an older one, which may have been taken for dead,
    are refused with ClaimLostError. Claims grow with time, and hold across a restart of this object; so any call may be made
    again by who has got no answer. HandoverError is raised where the disk takes nothing more.
    """

    def __init__(self, folder: StudyFolder, check: Callable[[], None] = lambda: None) -> None:
        """check: called before every write; raises LeaseLostError where another driver has taken over."""
        self._folder = folder
        self._check = check
        self._claims: dict[str, int] = {}
        self._under_way: set[str] = set()
        """Evaluations that a worker has begun, as far as this object knows."""
        self._wants_checkpoints = False

    def begin(self, evaluation: str) -> KnownEvaluation:
        """A worker takes the evaluation up."""
        claim = self._new_claim(evaluation)
        self._under_way.add(evaluation)
        checkpoint = self._folder.checkpoint(evaluation)
        with _disk():
            for part in self._folder.parts(evaluation):
                part.unlink(missing_ok=True)
            return KnownEvaluation(
                claim,
                outcome=take_result(self._folder.result(evaluation)),
                measured=read_measured(self._folder.measured(evaluation)),
                checkpoint_bytes=checkpoint.stat().st_size if checkpoint.exists() else 0,
            )

    def revoke(self, evaluation: str) -> None:
        """No worker has a claim to the evaluation any more: the driver has ended it."""
        self._new_claim(evaluation)
        self._under_way.discard(evaluation)

    def want_checkpoints(self) -> frozenset[str]:
        """The driver is about to stop: each worker is to hand over a checkpoint after the epoch that it trains. Returns the
        evaluations that workers have begun.
        """
        self._wants_checkpoints = True
        return frozenset(self._under_way)

    def checkpoint_wanted(self, evaluation: str, claim: int) -> bool:
        """Whether the worker is to hand over a checkpoint now."""
        self._require(evaluation, claim)
        self._under_way.add(evaluation)
        return self._wants_checkpoints

    def checkpoint_piece(self, evaluation: str, claim: int, offset: int, size: int) -> bytes:
        """So many bytes of the checkpoint, from `offset` on."""
        self._require(evaluation, claim)
        with _disk(), self._folder.checkpoint(evaluation).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def set_checkpoint_aside(self, evaluation: str, claim: int) -> None:
        """The checkpoint is damaged: rename it, so that the training begins at its first epoch."""
        self._require(evaluation, claim)
        with _disk(), suppress(FileNotFoundError):
            put_aside(self._folder.checkpoint(evaluation))

    def measured(self, evaluation: str, claim: int, metrics: dict[str, Measured]) -> None:
        """What was measured of the architecture, before its training."""
        self._require(evaluation, claim)
        with _disk():
            write_measured(self._folder.measured(evaluation), metrics)

    def piece(self, evaluation: str, claim: int, file: EvaluationFile, offset: int, content: bytes) -> None:
        """A part of a file that `checkpoint` or `finish` will put in its place."""
        self._require(evaluation, claim)
        path = self._folder.part(evaluation, file)
        with _disk():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if offset else "wb") as part:
                part.seek(offset)
                part.write(content)

    def checkpoint(self, evaluation: str, claim: int, epochs: Sequence[Epoch]) -> None:
        """The checkpoint is here in all its pieces. epochs: those trained since the last call, up to the checkpoint's."""
        self._require(evaluation, claim)
        with _disk():
            append_epochs(self._folder.epochs(evaluation), epochs)
            self._put_in_place(evaluation, "checkpoint")

    def finish(self, evaluation: str, claim: int, end: EvaluationEnd) -> None:
        """The evaluation ended. The outcome is written last: where it is, all else is there too."""
        self._require(evaluation, claim)
        with _disk():
            append_epochs(self._folder.epochs(evaluation), end.epochs)
            for file in end.files:
                self._put_in_place(evaluation, file)
            if end.traceback is not None:
                write_atomically(self._folder.error(evaluation), presentable(end.traceback))
            write_result(self._folder.result(evaluation), end.outcome)
        self._under_way.discard(evaluation)

    def nominal_ms(self, setting: LatencySetting) -> float | None:
        """What the reference network of latencies takes in this study; None where it is not fixed yet."""
        return self._latencies().nominal_ms(setting)

    def keep_nominal_ms(self, setting: LatencySetting, milliseconds: float) -> float:
        """Fix it, unless another worker was quicker: returns the figure that counts."""
        self._check()
        with _disk():
            return self._latencies().keep_nominal_ms(setting, milliseconds)

    def _latencies(self) -> LatencyCache:
        # It needs torch, which the other calls do without.
        from cbam_search.cost.latency_cache import LatencyCache

        return LatencyCache(self._folder.latency)

    def _new_claim(self, evaluation: str) -> int:
        self._check()
        claim = max(time.time_ns(), self._newest_claim(evaluation) + 1)
        path = self._folder.claim(evaluation)
        with _disk():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not forced to disk: it has to outlive this process, and no worker outlives the driver's machine.
            written = path.with_name(f"{path.name}.new")
            written.write_text(str(claim))
            written.replace(path)
        self._claims[evaluation] = claim
        return claim

    def _newest_claim(self, evaluation: str) -> int:
        """0 before the first."""
        if evaluation not in self._claims:
            with suppress(OSError, ValueError):
                self._claims[evaluation] = int(self._folder.claim(evaluation).read_text())
        return self._claims.get(evaluation, 0)

    def _require(self, evaluation: str, claim: int) -> None:
        if claim < self._newest_claim(evaluation):
            raise ClaimLostError(f"evaluation {evaluation} has ended, or another worker goes on with it")
        self._check()

    def _put_in_place(self, evaluation: str, file: EvaluationFile) -> None:
        part, path = self._folder.part(evaluation, file), self._folder.file(evaluation, file)
        # A call that is made again finds it in its place.
        if part.exists() or not path.exists():
            replace_durably(part, path)


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HandoverError(f"the study's folder cannot be read or written: {reason(error, with_file=False)}") from error
