"""Ray's process on this machine, which everything of Ray's here goes through: whether it still lives."""

from __future__ import annotations

import socket
import struct
from contextlib import closing

import ray._private.worker as ray_worker

from cbam_search.records.process import ProcessIdentity, process_here

_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as Linux tells of who listens at a socket."""


def raylet_here() -> ProcessIdentity | None:
    """The raylet that this driver is connected to; None where the system does not tell."""
    node = ray_worker.global_worker.node
    if node is None or not hasattr(socket, "SO_PEERCRED"):
        return None
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            connection.connect(node.raylet_socket_name)
            told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    return process_here(_CREDENTIALS.unpack(told)[0])
