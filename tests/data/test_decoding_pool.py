from __future__ import annotations

import threading

import numpy as np
import pytest

from cbam_search.data.decoding_pool import DecodingPool

LARGE = bytes(100_000)
SMALL = b"small"
ITEMS = [LARGE] * 30 + [SMALL] * 30 + [LARGE, SMALL, np.zeros(3, np.uint8), None] * 10


@pytest.mark.parametrize("limit_bytes", [1, 10**9])
def test_results_come_in_order(limit_bytes) -> None:
    with DecodingPool(limit_bytes) as pool:
        assert list(pool.map(id, ITEMS, 1000)) == [id(item) for item in ITEMS]


def test_few_results_wait_where_each_is_large() -> None:
    done = 0
    lock = threading.Lock()

    def work(_: object) -> int:
        nonlocal done
        with lock:
            done += 1
        return done

    with DecodingPool(4000) as pool:
        for number, _ in enumerate(pool.map(work, [LARGE] * 50, 1000), 1):
            assert done == number


def test_an_error_of_the_source_or_of_the_work_ends_it() -> None:
    def items():
        yield LARGE
        raise LookupError

    with DecodingPool(10**9) as pool, pytest.raises(LookupError):
        list(pool.map(len, items(), 1))
    with DecodingPool(10**9) as pool, pytest.raises(ZeroDivisionError):
        list(pool.map(lambda item: 1 // 0, [LARGE] * 100, 1))
