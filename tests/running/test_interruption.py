"""What asks a driver to stop: signals as the process got them at its start, and a request."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from cbam_search.running.interruption import WORDS, Interruption
from cbam_search.running.signals import kept_from_children


@pytest.mark.parametrize(("number", "word"), WORDS.items())
def test_a_signal_asks_once_and_handlers_are_put_back(
    number: signal.Signals, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {each: signal.getsignal(each) for each in WORDS}
    with Interruption() as interruption:
        assert not interruption()
        assert interruption.by is None
        os.kill(os.getpid(), number)
        assert interruption()
        assert (interruption.by, interruption.exit_code) == (word, 128 + number)
    assert {each: signal.getsignal(each) for each in WORDS} == before
    assert "stopping after the epochs under way" in capsys.readouterr().err


def test_a_second_ctrl_c_leaves_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), Interruption():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_first_reason_is_the_one_that_counts() -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert interruption.by == "SIGTERM"


def test_a_request_asks_too(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([False, True])
    interruption = Interruption(lambda: next(answers))
    assert not interruption()
    assert interruption()
    assert interruption()  # it is not asked again
    assert (interruption.by, interruption.exit_code) == ("cbam-search stop", 130)
    assert "as cbam-search stop asked" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), number)
            assert not interruption()
    finally:
        signal.signal(number, before)


def test_a_closed_output_asks_too(capsys: pytest.CaptureFixture[str]) -> None:
    interruption = Interruption(output_closed=lambda: True)
    assert interruption()
    assert (interruption.by, interruption.exit_code) == ("a closed output", 141)
    assert "nobody reads" in capsys.readouterr().err


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    found: list[object] = []

    def work() -> None:
        with Interruption(), kept_from_children(signal.SIGHUP):
            found.extend(signal.getsignal(number) for number in WORDS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(number) for number in WORDS]
