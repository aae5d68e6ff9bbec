"""Ray's agents on this machine do not outlive the driver, however it ends.

Ray's other processes end with the driver, even where it is killed. Its agents stay for a minute or two: they try to tell a
server that is gone. A small process waits for the driver's end and kills them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import ray

from cbam_search.records.process import process_here

_GUARD = """
import os, sys
def started(process):
    with open(f"/proc/{process}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[19].decode()
sys.stdin.read()
for agent in sys.argv[1:]:
    process, _, start = agent.partition(":")
    try:
        if started(process) == start:
            os.kill(int(process), 9)
    except OSError:
        pass
"""
_WAIT_SECONDS = 5.0


@contextmanager
def agents_guarded() -> Iterator[None]:
    """Around the time that Ray, started by this process, is in use; its agents end with that time, or with this process."""
    agents = _agents() if sys.platform == "linux" and ray.is_initialized() else []
    if not agents:
        yield
        return
    # In a session of its own: what is typed at a terminal is not for it.
    command = [sys.executable, "-S", "-c", _GUARD, *agents]
    guard = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert guard.stdin is not None
    try:
        yield
    finally:
        guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            guard.wait(_WAIT_SECONDS)


def _agents() -> list[str]:
    """Each as `process:start`, in clock ticks since the boot; another process may get the same number later."""
    raylets = [child for child in psutil.Process().children() if child.name() == "raylet"]
    found: list[str] = []
    for child in (child for raylet in raylets for child in raylet.children()):
        with suppress(psutil.Error):
            if "agent" in " ".join(child.cmdline()).lower():
                found.append(f"{child.pid}:{process_here(child.pid).process_started}")
    return found
