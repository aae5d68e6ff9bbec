"""A limit on the memory that several threads use at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class ByteBudget:
    """Bytes that threads take for a while, and wait for where too few are left.

    Who asks for more than the whole budget gets it, alone: a picture larger than the limit must be decoded too. A thread must
    take one share at a time, or two threads may wait for each other.
    """

    def __init__(self, n_bytes: int) -> None:
        self._size = max(n_bytes, 1)
        self._free = self._size
        self._changed = Condition()

    @contextmanager
    def taken(self, n_bytes: int) -> Iterator[None]:
        """Hold `n_bytes` within the block."""
        share = min(n_bytes, self._size)
        with self._changed:
            self._changed.wait_for(lambda: share <= self._free)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()
