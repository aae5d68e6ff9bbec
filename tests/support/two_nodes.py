"""A Ray cluster of two nodes on this machine whose folders differ: the driver's, and one that trains and sees no study."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import ray.util
from processes import descendants_named

RAY = Path(sys.executable).with_name("ray")
UNSHARE = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
STARTED_WITHIN_SECONDS = 90.0


def can_hide_folders() -> bool:
    """Whether processes may have folders of their own here."""
    command = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class TwoNodes:
    """address: of the head, where a driver runs and no trial does. environment: what a driver needs to join.

    hidden: the folder that the second node has its own of, empty at first. second: the process at its root.
    """

    address: str
    environment: dict[str, str]
    hidden: Path
    second: int

    def seen_by_second(self) -> list[str]:
        """What the second node finds in the hidden folder."""
        return sorted(path.name for path in Path(f"/proc/{self.second}/root{self.hidden}").iterdir())


@contextmanager
def two_nodes(hidden: Path, caches: Path, *, cpus: int = 2) -> Iterator[TwoNodes]:
    """The second node has so many CPUs, and the head has none. caches: folder for a cache of each node's own."""
    # Ray turns tokens on by itself in some places only: here all have the same.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | token
    environment |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    address = f"{ray.util.get_node_ip_address()}:{_free_port()}"
    with ExitStack() as stack:
        # Ray's sockets lie in it, whose paths must be short.
        session = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        stack.callback(shutil.rmtree, session, ignore_errors=True)
        common = [str(RAY), "start", "--block", "--disable-usage-stats"]
        head = [*common, "--head", "--num-cpus=0", "--num-gpus=0", "--include-dashboard=false"]
        head += [f"--port={address.partition(':')[2]}", f"--temp-dir={session}"]
        stack.enter_context(_node(head, environment | {"XDG_CACHE_HOME": f"{caches}/head"}, caches / "head.log"))
        second = [*common, f"--address={address}", f"--num-cpus={cpus}", "--num-gpus=0", "--node-ip-address=127.0.0.2"]
        hide = 'mount -t tmpfs tmpfs "$0" && mount -t tmpfs tmpfs "$1" && shift && exec "$@"'
        own_folders = [*UNSHARE, "sh", "-c", hide, str(hidden), str(session), *second]
        process = stack.enter_context(
            _node(own_folders, environment | {"XDG_CACHE_HOME": f"{caches}/second"}, caches / "second.log")
        )
        yield TwoNodes(address, environment | {"XDG_CACHE_HOME": f"{caches}/head"}, hidden, process)


@contextmanager
def _node(command: list[str], environment: dict[str, str], log: Path) -> Iterator[int]:
    """Its first process; at the end it is gone, and all that it started."""
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + STARTED_WITHIN_SECONDS
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield process.pid
    finally:
        for started in descendants_named(process.pid):
            with suppress(ProcessLookupError):
                os.kill(started, signal.SIGKILL)
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
