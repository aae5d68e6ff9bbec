"""Two threads that take turns: one asks, the other answers, and neither hangs when the other ends."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from cbam_search.running.executors.turns import Turns

LONG = 30.0
"""Seconds to wait for what is sure to come."""


def ended(turns: Turns[str, int]) -> bool:
    """Whether the working side ends by itself."""
    assert turns.next_call(LONG) is None
    return turns.ended


def test_each_call_gets_its_answer_in_order() -> None:
    answers: list[int] = []
    turns: Turns[str, int] = Turns(lambda: answers.extend(turns.ask(call) for call in "abc"), name="asking")
    turns.begin()
    for answer, call in enumerate("abc"):
        assert turns.next_call(LONG) == call
        assert answers == list(range(answer)), "the asking side went on before it had its answer"
        turns.answer(answer)
    assert ended(turns)
    assert answers == [0, 1, 2]


def test_the_asking_side_stands_still_until_it_has_its_answer() -> None:
    went_on = threading.Event()

    def work() -> None:
        turns.ask("a")
        went_on.set()

    turns: Turns[str, int] = Turns(work, name="asking")
    turns.begin()
    assert turns.next_call(LONG) == "a"
    assert not went_on.wait(0.1)
    turns.answer(1)
    assert went_on.wait(LONG)
    assert ended(turns)


def test_a_call_that_is_not_answered_yet_is_seen_again() -> None:
    turns: Turns[str, int] = Turns(lambda: turns.ask("a") and None, name="asking")
    turns.begin()
    assert turns.next_call(LONG) == "a"
    assert turns.next_call(LONG) == "a"
    turns.answer(1)
    assert ended(turns)


def test_nothing_is_called_for_so_long() -> None:
    go_on = threading.Event()
    turns: Turns[str, int] = Turns(lambda: go_on.wait(LONG) and None, name="silent")
    turns.begin()
    assert turns.next_call(0.01) is None
    assert not turns.ended
    go_on.set()
    assert ended(turns)


def test_none_is_an_answer() -> None:
    answers: list[int | None] = []
    turns: Turns[str, int | None] = Turns(lambda: answers.append(turns.ask("a")), name="asking")
    turns.begin()
    assert turns.next_call(LONG) == "a"
    turns.answer(None)
    assert turns.next_call(LONG) is None
    assert answers == [None]


@pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(3), KeyboardInterrupt()])
def test_what_the_working_side_raises_is_raised_once_on_the_other(error: BaseException) -> None:
    def work() -> None:
        turns.ask("a")
        raise error

    turns: Turns[str, int] = Turns(work, name="failing")
    turns.begin()
    assert turns.next_call(LONG) == "a"
    turns.answer(1)
    with pytest.raises(type(error)) as raised:
        turns.next_call(LONG)
    assert raised.value is error
    assert turns.ended
    assert turns.next_call(LONG) is None


def test_an_answer_to_nothing_is_a_mistake() -> None:
    turns: Turns[str, int] = Turns(lambda: None, name="silent")
    turns.begin()
    assert ended(turns)
    with pytest.raises(AssertionError):
        turns.answer(1)


@pytest.mark.parametrize("asked", [True, False])
def test_an_abandoned_thread_ends_with_its_next_question(asked: bool) -> None:
    """Its own clean-up runs, and no `except Exception` on the way holds it."""
    cleaned: list[bool] = []
    go_on = threading.Event()

    def work() -> None:
        try:
            go_on.wait(LONG)
            with suppress(Exception):
                turns.ask("a")
            pytest.fail("it went on")
        finally:
            cleaned.append(True)

    turns: Turns[str, int] = Turns(work, name="abandoned")
    turns.begin()
    if asked:
        go_on.set()
        assert turns.next_call(LONG) == "a"
    else:
        threading.Timer(0.1, go_on.set).start()
    turns.abandon(LONG)
    assert cleaned == [True]
    assert turns.ended
    assert turns.next_call(0.0) in ("a", None)
