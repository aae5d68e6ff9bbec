"""Ray joined, or started on this machine: in bounded time, with nothing of its own on the terminal, and put away again."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil
import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private import services

from cbam_search.errors import ResourceError, SignalReceived
from cbam_search.running.executors.ray_job import JobOfInstalledCode
from cbam_search.running.ray_contact import NobodyListensError, require_answer
from cbam_search.running.ray_guard import agents_guarded
from cbam_search.running.scratch import file_in_memory, scratch_folder
from cbam_search.running.signals import kept_from_children
from cbam_search.safe_text import printable, reason

START_WITHIN_SECONDS = 60.0
LONGEST_FOLDER_BYTES = 41
"""Of Ray's folder: its sockets lie in it under a session's name of 42 characters, and may have 107 in all (103 on macOS)."""


LEAST_FREE_BYTES = 512 * 1024
"""On the disk of Ray's folder: with less its processes do not come up, and it takes Ray a minute to say so."""


class _TooLong(BaseException):
    """Ray's start took too long. No Exception: Ray tries again after these."""


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
    _init(address, None, verbose=verbose)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def ray_started(*, verbose: bool) -> Iterator[None]:
    """Ray on this machine, for this process alone."""
    try:
        with _short_folder() as folder:
            _require_room(Path(folder) if folder else _default_folder())
            _init("local", folder, verbose=verbose)
            with agents_guarded():
                try:
                    yield
                finally:
                    ray.shutdown()
    except _NoFolderError as error:
        raise ResourceError(
            f"Ray needs a folder with a path of at most {LONGEST_FOLDER_BYTES} bytes for its sockets and logs, and none can be "
            f"made: {error}. TMPDIR or RAY_TMPDIR names one"
        ) from None


class _NoFolderError(Exception):
    pass


@contextmanager
def _short_folder() -> Iterator[str | None]:
    """A folder of our own for Ray where its default cannot hold sockets; None: the default can."""
    default = _default_folder()
    where = default if default.exists() else default.parent
    if len(os.fsencode(default)) <= LONGEST_FOLDER_BYTES and os.access(where, os.W_OK | os.X_OK):
        yield None
        return
    made = scratch_folder("ray", Path("/tmp"))
    try:
        folder = made.__enter__()
    except OSError as error:
        raise _NoFolderError(reason(error)) from None
    try:
        yield str(folder)
    finally:
        made.__exit__(None, None, None)


def _require_room(folder: Path) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    with suppress(OSError):
        free = shutil.disk_usage(there).free
        if free < LEAST_FREE_BYTES:
            raise ResourceError(
                f"the disk of Ray's folder, {printable(folder)}, is full: {free // 1024:,} KiB are free. Make room there, let "
                f"RAY_TMPDIR name a folder on another disk, or train without Ray with `resources: {{executor: inline}}`"
            )


def _default_folder() -> Path:
    return Path(get_default_ray_temp_dir())  # type: ignore[no-untyped-call]


def _init(address: str | None, folder: str | None, *, verbose: bool) -> None:
    """`ray.init`; raises ResourceError within a minute, with nothing left running that it started."""
    local = address == "local"
    options: dict[str, Any] = {"_temp_dir": folder} if folder else {}
    before = {child.pid for child in psutil.Process().children()}
    handler = signal.getsignal(signal.SIGTERM)
    said = nullcontext(None) if verbose else _stderr_aside()
    try:
        # A terminal that is closed sends SIGHUP to Ray's processes too, and batch systems SIGTERM. Trainings are to end as the
        # driver says.
        with said as aside, kept_from_children(signal.SIGHUP, signal.SIGTERM), _at_most(START_WITHIN_SECONDS):
            ray.init(
                address=address,
                include_dashboard=False if local else None,
                log_to_driver=verbose,
                logging_level=logging.INFO if verbose else logging.ERROR,
                configure_logging=True,
                job_config=JobOfInstalledCode(),
                **options,
            )
    except BaseException as error:
        _kill_children(before)
        if isinstance(error, SystemExit) and error.code == signal.SIGTERM:  # so does Ray's own handler
            raise SignalReceived(signal.SIGTERM) from None
        if isinstance(error, _TooLong):
            why = f"it did not come up within {START_WITHIN_SECONDS:g} s"
        elif isinstance(error, Exception | SystemExit):
            why = reason(error)
        else:
            raise
        raise ResourceError(_no_ray(address, folder, why, _last_line(aside))) from None
    finally:
        _put_back(handler)


def _no_ray(address: str | None, folder: str | None, why: str, last_line: str) -> str:
    if address != "local":
        return f"the Ray cluster {printable(address or 'that runs here')} cannot be joined: {why}"
    logs = Path(folder or _default_folder()) / "session_latest" / "logs"
    said = f" ({last_line})" if last_line else ""
    return (
        f"Ray cannot be started on this machine: {why}{said}. Its logs are in {printable(logs)}. Look for a full disk or "
        f"/dev/shm and for low limits (ulimit -n, -u); `resources: {{executor: inline}}` trains without Ray"
    )


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise _TooLong after so long; where this is not the main thread, Ray's own time limits have to do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _stderr_aside() -> Iterator[IO[bytes]]:
    """What this process and those that it starts write to stderr meanwhile goes into a file that nobody sees."""
    file = file_in_memory()
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield file
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def _last_line(file: IO[bytes] | None) -> str:
    if file is None:
        return ""
    file.seek(0)
    lines = [line for line in file.read()[-4096:].decode(errors="replace").splitlines() if line.strip()]
    return printable(lines[-1]) if lines else ""


def _kill_children(before: set[int]) -> None:
    """Those that were started since, and what they started."""
    for child in psutil.Process().children():
        if child.pid not in before:
            for process in (child, *child.children(recursive=True)):
                try:
                    process.kill()
                except psutil.Error:
                    continue


def _put_back(handler: Any) -> None:
    """Ray installs one of its own for SIGTERM, which ends the process without a word."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
