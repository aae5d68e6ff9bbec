"""Ray joined, or started on this machine for this process alone, and put away again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import ray
import ray._private.worker as ray_worker
from ray._private import services

from cbam_search.errors import NobodyListensError, ResourceError
from cbam_search.running.ray_contact import require_answer
from cbam_search.running.ray_guard import agents_guarded
from cbam_search.running.ray_init import HERE, default_folder, init_ray
from cbam_search.running.ray_token import token_without_a_home
from cbam_search.running.scratch import scratch_folder
from cbam_search.safe_text import printable, reason

LONGEST_FOLDER_BYTES = 41
"""Of Ray's folder: its sockets lie in it under a session's name of 42 characters, and may have 107 in all (103 on macOS)."""
LEAST_FREE_BYTES = 512 * 1024
"""On the disk of Ray's folder: with less its processes do not come up, and it takes Ray a minute to say so."""


def joined_address(given: str | None) -> str | None:
    """The host:port of the cluster to join; None where Ray is to run on this machine. Raises ResourceError.

    A cluster that was started here and has ended is no cluster: it counts only where the YAML or RAY_ADDRESS names one.
    """
    named = given or os.environ.get("RAY_ADDRESS", "")
    if named.startswith("ray://"):
        raise ResourceError(
            f"{printable(named)} is an address for Ray Client, which leads through another machine; the study's folder is to "
            f"be written on this one. Launch on a node of the cluster, with `address: auto`"
        )
    try:
        address = services.canonicalize_bootstrap_address(given)  # type: ignore[arg-type]
    except (OSError, ValueError) as error:
        raise ResourceError(f"no Ray cluster answers at {printable(named)}: {reason(error)}") from None
    if address is None:
        return None
    try:
        require_answer(given, address, named)
    except NobodyListensError:
        if named:
            raise
        return None
    return address


@contextmanager
def ray_joined(address: str | None, *, verbose: bool) -> Iterator[None]:
    """A driver of the cluster at `address`, as the YAML names it; it has answered already."""
    init_ray(address, None, verbose=verbose)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def ray_started(*, verbose: bool) -> Iterator[None]:
    """Ray on this machine, for this process alone. Raises ResourceError."""
    with ExitStack() as stack:
        folder = _folder_of_our_own(stack)
        _require_room(folder or default_folder())
        stack.enter_context(token_without_a_home())
        init_ray(HERE, folder, verbose=verbose)
        stack.enter_context(agents_guarded())
        stack.callback(_end_ray)
        yield


def _end_ray() -> None:
    """`ray.shutdown`, which would wait a second for each of Ray's processes here to heed a SIGTERM that none of them gets."""
    if (node := ray_worker._global_node) is not None:
        kill = node.kill_all_processes

        def kill_at_once(check_alive: bool = True, allow_graceful: bool = False, wait: bool = False) -> None:  # noqa: ARG001
            kill(check_alive=check_alive, allow_graceful=False, wait=wait)

        node.kill_all_processes = kill_at_once
    ray.shutdown()


def _folder_of_our_own(stack: ExitStack) -> Path | None:
    """A folder for Ray, until `stack` is closed, where its default cannot hold sockets; None: the default can."""
    default = default_folder()
    where = default if default.exists() else default.parent
    if len(os.fsencode(default)) <= LONGEST_FOLDER_BYTES and os.access(where, os.W_OK | os.X_OK):
        return None
    try:
        return stack.enter_context(scratch_folder("ray", Path("/tmp")))
    except OSError as error:
        raise ResourceError(
            f"Ray needs a folder with a path of at most {LONGEST_FOLDER_BYTES} bytes for its sockets and logs, and none can be "
            f"made: {reason(error)}. TMPDIR or RAY_TMPDIR names one"
        ) from None


def _require_room(folder: Path) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    with suppress(OSError):
        free = shutil.disk_usage(there).free
        if free < LEAST_FREE_BYTES:
            raise ResourceError(
                f"the disk of Ray's folder, {printable(folder)}, is full: {free // 1024:,} KiB are free. Make room there, let "
                f"RAY_TMPDIR name a folder on another disk, or train without Ray with `resources: {{executor: inline}}`"
            )
