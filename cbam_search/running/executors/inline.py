"""Evaluations in this process, one after the other: for a debugger and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from cbam_search.errors import CbamSearchError
from cbam_search.records.inbox import Inbox
from cbam_search.running.executors.executor import SECONDS_TO_CLOSE, Executor, ExecutorEvent, Reported
from cbam_search.running.worker import Worker
from cbam_search.running.worker_report import EvaluationTask


class InlineExecutor(Executor):
    """Runs one worker here. A step takes as long as an epoch, whatever `timeout_seconds` says."""

    def __init__(self, worker: Worker, inbox: Inbox) -> None:
        """inbox: the worker's."""
        super().__init__()
        self._worker = worker
        self._inbox = inbox
        self._interrupted = False

    def capacity(self) -> int:
        return 0 if self._running or self._interrupted else 1

    def start(self, task: EvaluationTask) -> None:
        self._worker.begin(task)
        self._running.add(task.evaluation)

    def stop(self, evaluation: str) -> None:
        self._running.discard(evaluation)
        self._inbox.revoke(evaluation)

    def events(self, timeout_seconds: float) -> Sequence[ExecutorEvent]:  # noqa: ARG002
        if not self._running:
            return ()
        [evaluation] = self._running
        report = self._worker.step()
        if report.ended:
            self._running.discard(evaluation)
        return (Reported(evaluation, report),)

    def no_more_tasks(self) -> None:
        """Nothing to do: it takes none by itself."""

    def interrupt(self) -> None:
        self._interrupted = True
        if self._running:
            # What cannot be handed over is trained again: it must not keep the study from ending.
            with suppress(CbamSearchError):
                self._worker.save()
        self._running.clear()

    def close(self, *, at_most_seconds: float = SECONDS_TO_CLOSE) -> None:  # noqa: ARG002
        self._running.clear()
        self._worker.drop()
