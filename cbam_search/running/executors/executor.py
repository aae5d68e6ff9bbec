"""What an executor does: start evaluations, stop them, and tell what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cbam_search.running.last_words import WorkerDeath
from cbam_search.running.worker_report import EvaluationTask, WorkerReport

SECONDS_TO_CLOSE = 60.0
SECONDS_TO_CLOSE_AFTER_ERROR = 4.0
"""A study that cannot go on says so within ten."""


@dataclass(frozen=True)
class Reported:
    """A worker took a step."""

    evaluation: str
    report: WorkerReport


@dataclass(frozen=True)
class Waits:
    """It has no worker yet. why: what it waits for, behind `waits for`; None: it waits no longer."""

    evaluation: str
    why: str | None


@dataclass(frozen=True)
class WorkerLost:
    """A worker died. Its evaluation goes on elsewhere, from the last checkpoint that the driver has."""

    evaluation: str
    death: WorkerDeath


@dataclass(frozen=True)
class WorkersDied:
    """So many workers died with an evaluation that it is not tried again. death: the last."""

    evaluation: str
    death: WorkerDeath


ExecutorEvent = Reported | Waits | WorkerLost | WorkersDied


class Executor(ABC):
    """Runs evaluations for one driver, which owns it.

    Not thread-safe: one thread calls it. That thread asks for `events` again and again, and does what they call for in between:
    an evaluation that reported an epoch trains no further before `events` is asked for again, so a `stop` until then
    stops it there. Events of one evaluation come in order: its epochs, then its end. After a `stop` none comes.
    Close it when done, whatever happened: use it as a context manager.
    """

    def __init__(self) -> None:
        self._running: set[str] = set()

    @property
    def running(self) -> frozenset[str]:
        """Evaluations that were started and have neither ended nor been stopped."""
        return frozenset(self._running)

    @abstractmethod
    def capacity(self) -> int:
        """How many tasks it would take now."""

    @abstractmethod
    def start(self, task: EvaluationTask) -> None:
        """Take a task; only while there is capacity."""

    @abstractmethod
    def stop(self, evaluation: str) -> None:
        """Train it no further; what its worker still hands over is refused."""

    @abstractmethod
    def events(self, timeout_seconds: float) -> Sequence[ExecutorEvent]:
        """What happened since the last call; waits for something to happen, so long at most.

        Raises what went wrong in the executor itself.
        """

    @abstractmethod
    def no_more_tasks(self) -> None:
        """No task will come any more; what runs goes on."""

    @abstractmethod
    def interrupt(self) -> None:
        """End all after the epochs under way, each worker handing over a checkpoint first. `running` then empties: ask for
        `events` until it has, since an end that comes in meanwhile counts.
        """

    @abstractmethod
    def close(self, *, at_most_seconds: float = SECONDS_TO_CLOSE) -> None:
        """Let go of everything; workers get so long to hand over what they have."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.close(at_most_seconds=0.0 if issubclass(kind, KeyboardInterrupt) else SECONDS_TO_CLOSE_AFTER_ERROR)
