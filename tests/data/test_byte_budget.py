from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cbam_search.data.byte_budget import ByteBudget


def test_what_is_taken_at_once_stays_within_the_budget() -> None:
    budget, lock = ByteBudget(100), threading.Lock()
    held: list[int] = []
    most = 0

    def work(n_bytes: int) -> None:
        nonlocal most
        with budget.taken(n_bytes):
            with lock:
                held.append(n_bytes)
                most = max(most, sum(held))
            with lock:
                held.remove(n_bytes)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, [10, 40, 90, 1, 60] * 40))
    assert 0 < most <= 100


def test_a_share_larger_than_the_budget_is_given_alone_and_given_back_after_an_error() -> None:
    budget = ByteBudget(10)
    with pytest.raises(ZeroDivisionError), budget.taken(1000):
        raise ZeroDivisionError
    entered = threading.Event()

    def other() -> None:
        with budget.taken(1):
            entered.set()

    with budget.taken(1000):
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.05)
    thread.join(10)
    assert entered.is_set()
