"""Signals that end a command, that are left alone, and that processes started meanwhile never get."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cbam_search.errors import SignalReceived
from cbam_search.running.signals import ENDING, ended_by_signals, heeded, kept_from_children


@contextmanager
def handled(**handlers: Any) -> Iterator[None]:
    before = {name: signal.signal(getattr(signal, name), handler) for name, handler in handlers.items()}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@pytest.mark.parametrize("number", ENDING)
def test_each_is_raised_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in ENDING]
    with pytest.raises(SignalReceived) as caught, ended_by_signals():
        signal.raise_signal(number)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.exit_code == 128 + number
    assert [signal.getsignal(each) for each in ENDING] == before


def test_a_second_one_leaves_the_end_alone_but_for_ctrl_c() -> None:
    put_away = []
    with pytest.raises(SignalReceived) as caught, ended_by_signals():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            put_away.append(True)
            signal.raise_signal(signal.SIGINT)
    assert put_away
    assert caught.value.exit_code == 130


def test_a_script_has_its_background_ignore_ctrl_c_and_kill_int_is_heeded() -> None:
    with handled(SIGINT=signal.SIG_IGN, SIGHUP=signal.SIG_DFL):
        assert signal.SIGINT in heeded(ENDING)


def test_under_nohup_nothing_typed_at_the_terminal_is_heeded() -> None:
    with handled(SIGINT=signal.SIG_IGN, SIGHUP=signal.SIG_IGN):
        assert heeded(ENDING) == [signal.SIGTERM]


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    found: list[object] = []

    def work() -> None:
        with ended_by_signals():
            found.extend(signal.getsignal(number) for number in ENDING)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(number) for number in ENDING]


def test_children_never_get_what_this_process_gets_at_once() -> None:
    code = "import signal; print(signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    heard: list[int] = []
    with handled(SIGHUP=lambda number, _frame: heard.append(number)):
        with kept_from_children(signal.SIGHUP):
            inside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            os.kill(os.getpid(), signal.SIGHUP)
            for _ in range(10_000_000):
                if heard:
                    break
        outside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert (inside.strip(), outside.strip()) == ("True", "False")
    assert heard == [signal.SIGHUP]
