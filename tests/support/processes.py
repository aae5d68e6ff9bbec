"""Processes that tests start: which run below another, and what is waited for."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


def descendants_named(ancestor: int, *parts: str) -> list[int]:
    """Processes below `ancestor`, itself too, whose title holds each of `parts`."""
    rows = [
        line.split(None, 2) for line in subprocess.check_output(["ps", "-ewwo", "pid,ppid,args"], text=True).splitlines()[1:]
    ]
    parents = {int(pid): int(parent) for pid, parent, _ in rows}

    def below(pid: int) -> bool:
        while pid in parents:
            if pid == ancestor:
                return True
            pid = parents[pid]
        return False

    return [int(pid) for pid, _, title in rows if all(part in title for part in parts) and below(int(pid))]


def wait_until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Return once it holds; fails where it does not within that time, which is far more than a busy machine needs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
