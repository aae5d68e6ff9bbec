"""How a worker hands an evaluation over to the driver: in order, piece by piece, one call after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from cbam_search.cost.latency import LatencySetting
from cbam_search.metrics import Measured
from cbam_search.records.folder import EvaluationFile
from cbam_search.records.inbox import EvaluationEnd, KnownEvaluation
from cbam_search.records.trials import Outcome
from cbam_search.training.epoch import Epoch

PIECE_BYTES = 8 * 2**20
"""The most that one call carries. Each worker waits for the answer, so that so much a worker is the most that is under way."""


class InboxCalls(Protocol):
    """The driver's inbox as workers see it: `cbam_search.records.inbox.Inbox`, near or far."""

    def begin(self, evaluation: str) -> KnownEvaluation: ...

    def checkpoint_wanted(self, evaluation: str, claim: int) -> bool: ...

    def checkpoint_piece(self, evaluation: str, claim: int, offset: int, size: int) -> bytes: ...

    def set_checkpoint_aside(self, evaluation: str, claim: int) -> None: ...

    def measured(self, evaluation: str, claim: int, metrics: dict[str, Measured]) -> None: ...

    def piece(self, evaluation: str, claim: int, file: EvaluationFile, offset: int, content: bytes) -> None: ...

    def checkpoint(self, evaluation: str, claim: int, epochs: Sequence[Epoch]) -> None: ...

    def finish(self, evaluation: str, claim: int, end: EvaluationEnd) -> None: ...

    def nominal_ms(self, setting: LatencySetting) -> float | None: ...

    def keep_nominal_ms(self, setting: LatencySetting, milliseconds: float) -> float: ...


class NoInbox:
    """Nobody keeps anything: for trainings whose results their caller takes from the reports."""

    def begin(self, evaluation: str) -> KnownEvaluation:  # noqa: ARG002
        return KnownEvaluation(claim=0)

    def checkpoint_wanted(self, evaluation: str, claim: int) -> bool:  # noqa: ARG002
        return False

    def checkpoint_piece(self, evaluation: str, claim: int, offset: int, size: int) -> bytes:  # noqa: ARG002
        return b""

    def set_checkpoint_aside(self, evaluation: str, claim: int) -> None:
        """Nothing."""

    def measured(self, evaluation: str, claim: int, metrics: dict[str, Measured]) -> None:
        """Nothing."""

    def piece(self, evaluation: str, claim: int, file: EvaluationFile, offset: int, content: bytes) -> None:
        """Nothing."""

    def checkpoint(self, evaluation: str, claim: int, epochs: Sequence[Epoch]) -> None:
        """Nothing."""

    def finish(self, evaluation: str, claim: int, end: EvaluationEnd) -> None:
        """Nothing."""

    def nominal_ms(self, setting: LatencySetting) -> float | None:  # noqa: ARG002
        return None

    def keep_nominal_ms(self, setting: LatencySetting, milliseconds: float) -> float:  # noqa: ARG002
        return milliseconds


class Delivery:
    """One evaluation between a worker and the inbox. known: what the driver had of it at the start."""

    def __init__(self, inbox: InboxCalls, evaluation: str) -> None:
        self._inbox = inbox
        self._evaluation = evaluation
        self.known = inbox.begin(evaluation)
        self._epochs: list[Epoch] = []
        """Trained here, and not handed over yet."""

    def checkpoint(self) -> bytes | None:
        """The last checkpoint that the driver has; None where it has none."""
        size = self.known.checkpoint_bytes
        if size == 0:
            return None
        pieces = [
            self._inbox.checkpoint_piece(self._evaluation, self.known.claim, offset, PIECE_BYTES)
            for offset in range(0, size, PIECE_BYTES)
        ]
        return b"".join(pieces)

    def checkpoint_is_damaged(self) -> None:
        """Have it put aside."""
        self._inbox.set_checkpoint_aside(self._evaluation, self.known.claim)

    def measured(self, metrics: Mapping[str, Measured]) -> None:
        self._inbox.measured(self._evaluation, self.known.claim, dict(metrics))

    def epoch(self, epoch: Epoch) -> None:
        """It goes along with the next checkpoint, or with the end: without these it would be trained again."""
        self._epochs.append(epoch)

    def checkpoint_wanted(self) -> bool:
        """Whether the driver is about to stop, and wants one now. Raises ClaimLostError where another worker goes on."""
        return self._inbox.checkpoint_wanted(self._evaluation, self.known.claim)

    def save_checkpoint(self, content: bytes) -> None:
        """Hand over a checkpoint after the last epoch."""
        self._send("checkpoint", content)
        self._inbox.checkpoint(self._evaluation, self.known.claim, self._epochs)
        self._epochs = []

    def finish(self, outcome: Outcome, files: Mapping[EvaluationFile, bytes], traceback: str | None = None) -> None:
        """Hand over how the evaluation ended, with the files that are kept of it."""
        for file, content in files.items():
            self._send(file, content)
        end = EvaluationEnd(outcome, self._epochs, tuple(files), traceback)
        self._inbox.finish(self._evaluation, self.known.claim, end)
        self._epochs = []

    def _send(self, file: EvaluationFile, content: bytes) -> None:
        for offset in range(0, len(content), PIECE_BYTES):
            piece = content[offset : offset + PIECE_BYTES]
            self._inbox.piece(self._evaluation, self.known.claim, file, offset, piece)
