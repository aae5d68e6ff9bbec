"""MLflow follows a running study from a thread of its own, reading the ledger: an outage delays it, and loses nothing.

That thread is the only writer. No MLflow call, nor its import, happens in the thread that drives the study.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cbam_search.errors import LeaseLostError
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.tracking.address import problem_of, with_variables
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.contact import require_answer
from cbam_search.tracking.cursor import read_cursor
from cbam_search.tracking.mlflow_settings import temporary_mlflow_settings

if TYPE_CHECKING:
    from cbam_search.tracking.session import Session

POLL_SECONDS = 2.0
FRONT_SECONDS = 20.0
"""The front is drawn at most this often while the study runs, and once more at its end."""
LOOK_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_AT_END_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Uploader:
    """Start it once the ledger is open and the driver's own imports are done; stop it after the last event.

    poll_seconds: time between looks at the ledger. check: raises LeaseLostError where another driver has taken over, whose own
    uploader goes on then. With `mlflow: false` it does nothing.
    """

    def __init__(
        self,
        folder: StudyFolder,
        config: TrackingConfig,
        *,
        poll_seconds: float = POLL_SECONDS,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.problem: str | None = None
        """Why MLflow cannot be written to now; None while it can."""
        self.taken_over = False
        """Whether another driver has taken over, and its uploader with it."""
        self._has_answered = False
        self._folder = folder
        self._config = config
        self._poll_seconds = poll_seconds
        self._check = check
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._drained = threading.Event()
        self._front_drawn_seconds = float("-inf")
        self._thread = threading.Thread(target=self._work, name="mlflow-uploader", daemon=True) if config.mlflow else None

    def start(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def stop(self, timeout_seconds: float, *, unless: Callable[[], bool] = lambda: False) -> bool:
        """Write what is left, for at most `timeout_seconds`; returns whether MLflow has everything.

        unless: asked now and then; once it says so that it did not say at first, nothing more is waited for.
        """
        if self._thread is None or not self._thread.is_alive():
            return self._thread is None or self._drained.is_set() or self._thread.ident is None
        self._stopping.set()
        until, asked_before = time.monotonic() + timeout_seconds, unless()
        try:
            while self._thread.is_alive() and (left := until - time.monotonic()) > 0 and (asked_before or not unless()):
                self._thread.join(min(left, LOOK_SECONDS))
        finally:
            self._abandoned.set()
        return self._drained.is_set()

    @property
    def never_answered(self) -> bool:
        """Whether MLflow was asked, and gave no answer yet."""
        return self.problem is not None and not self._has_answered

    def remaining(self) -> int:
        """Events of the ledger that MLflow does not have yet."""
        if self._thread is None:
            return 0
        cursor = read_cursor(self._folder.mlflow_state)
        return sum(1 for _ in read_events(self._folder.ledger, cursor.offset if cursor else 0))

    def _work(self) -> None:
        try:
            self._follow()
        except Exception as error:  # MLflow cannot even be imported
            self._set_problem(problem_of(error))

    def _follow(self) -> None:
        with temporary_mlflow_settings():
            session: Session | None = None
            pause = 1.0
            while not self._abandoned.is_set():
                stopping = self._stopping.is_set()
                try:
                    self._check()
                    session = session or self._connect()
                    self._has_answered = True
                    self._catch_up(session, to_the_end=stopping)
                except LeaseLostError:
                    self.taken_over = True
                    return
                except Exception as error:
                    session = None
                    self._set_problem(problem_of(error))
                    self._wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                    continue
                self._set_problem(None)
                if stopping:
                    self._drained.set()
                    return
                pause = 1.0
                self._wait(self._poll_seconds)

    def _connect(self) -> Session:
        require_answer(with_variables(self._config.uri))
        from cbam_search.tracking.session import Session

        return Session(self._folder, self._config)

    def _catch_up(self, session: Session, *, to_the_end: bool) -> None:
        while not self._abandoned.is_set() and session.advance():
            continue
        due = to_the_end or time.monotonic() - self._front_drawn_seconds > FRONT_SECONDS
        if session.front_is_stale and due and not self._abandoned.is_set():
            session.publish_front()
            self._front_drawn_seconds = time.monotonic()

    def _set_problem(self, problem: str | None) -> None:
        if problem and not self.problem:
            _log.warning("MLflow cannot be written to; training goes on, and nothing is lost: %s", problem)
        elif self.problem and not problem:
            _log.warning("MLflow can be written to again and is up to date")
        self.problem = problem

    def _wait(self, seconds: float) -> None:
        """A stop ends the wait; once stopping, waits are short and an abandoned thread ends them."""
        if self._stopping.is_set():
            self._abandoned.wait(min(seconds, LONGEST_PAUSE_AT_END_SECONDS))
        else:
            self._stopping.wait(seconds)
