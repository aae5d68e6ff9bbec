"""Work on images in their order, on several threads where that pays, with few results held at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from cbam_search.data.byte_budget import ByteBudget
from cbam_search.data.source import Item

_T = TypeVar("_T")

_THREADED_BYTES = 16_384  # decoding smaller images holds Python's lock most of the time: threads only slow it down
_MEAN_OF = 16  # images
_WAITING_PER_THREAD = 4
_SHARE_OF_RESULTS = 0.25
_SHARE_OF_WORK = 0.5


class DecodingPool:
    """Threads for decoding. budget: for what they hold while they decode; `map` bounds what they have decoded.

    limit_bytes: dataset.memory_limit_gib. A quarter of it is for decoded images that wait for their turn, half of it is for
    the images being decoded, in their own size.
    """

    def __init__(self, limit_bytes: float) -> None:
        self.budget = ByteBudget(int(limit_bytes * _SHARE_OF_WORK))
        self._result_bytes = limit_bytes * _SHARE_OF_RESULTS
        self._count = min(8, os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(self._count)

    def __enter__(self) -> DecodingPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Item | None], _T], items: Iterable[Item | None], result_bytes: int) -> Iterator[_T]:
        """`work` of every item, in order. result_bytes: about what one result takes."""
        at_most = int(self._result_bytes // max(result_bytes, 1))
        at_most = max(1, min(at_most, self._count * _WAITING_PER_THREAD))
        waiting: deque[Future[_T]] = deque()
        mean_bytes = 0.0
        for item in items:
            n_bytes = _encoded_bytes(item)
            mean_bytes += (n_bytes - mean_bytes) / _MEAN_OF if mean_bytes else n_bytes
            if mean_bytes >= _THREADED_BYTES:
                waiting.append(self._threads.submit(work, item))
                if len(waiting) >= at_most:
                    yield waiting.popleft().result()
                continue
            while waiting:
                yield waiting.popleft().result()
            yield work(item)
        while waiting:
            yield waiting.popleft().result()


def _encoded_bytes(item: Item | None) -> int:
    """What there is to decode; of a file without looking at it: enough for a thread. Arrays are decoded already."""
    if isinstance(item, Path):
        return _THREADED_BYTES
    return len(item) if isinstance(item, bytes) else 0
