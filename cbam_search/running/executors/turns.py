"""Two threads that take turns: one asks, stands still until it is answered, and works on; the other waits for it to ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar


class AbandonedError(BaseException):
    """Nobody will answer any more. No Exception, so that code between the two sides does not take it for its own mistake."""


CallT = TypeVar("CallT")
AnswerT = TypeVar("AnswerT")


class Turns(Generic[CallT, AnswerT]):
    """One side, `work` in a thread of its own, asks; the other answers in its own time, and waits for the next call.

    The asking side stands still from `ask` until it has its answer. The other side waits for the next call only so long as it
    likes: from then until it waits again both may work.
    """

    def __init__(self, work: Callable[[], None], *, name: str) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._call: CallT | None = None
        self._answer: AnswerT | None = None
        self._answered = False
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether `work` has returned, or failed."""
        return self._ended

    def ask(self, call: CallT) -> AnswerT:
        """From the thread of `work`: wait for the answer. Raises AbandonedError where there will be none."""
        with self._changed:
            self._call, self._answered = call, False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answered or self._abandoned)
            if not self._answered:
                raise AbandonedError
            answer = self._answer
            self._answer = None
        return answer  # type: ignore[return-value]

    def answer(self, answer: AnswerT) -> None:
        """From the other side: let `work` go on. It must have asked."""
        with self._changed:
            assert self._call is not None
            self._call, self._answer, self._answered = None, answer, True
            self._changed.notify_all()

    def next_call(self, timeout_seconds: float) -> CallT | None:
        """From the other side: what is asked; None after so long, or once `work` has ended. Raises what `work` raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._call is not None or self._ended, timeout_seconds)
            if self._ended and self._error is not None:
                error, self._error = self._error, None
                raise error
            return self._call

    def abandon(self, timeout_seconds: float) -> None:
        """From the other side: answer no more, and wait so long for `work` to end."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            self._work()
        except AbandonedError:
            pass
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
