"""`ray.init` in bounded time: with nothing of Ray's on the terminal, and nothing left running where it fails."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil
import ray
from ray._common.utils import get_default_ray_temp_dir

from cbam_search.errors import ResourceError, SignalReceived
from cbam_search.running.ray_job import JobOfInstalledCode
from cbam_search.running.scratch import file_in_memory
from cbam_search.running.signals import kept_from_children
from cbam_search.safe_text import printable, reason

HERE = "local"
"""In place of an address: Ray is started on this machine."""
START_WITHIN_SECONDS = 60.0


class _TooLong(BaseException):
    """Ray's start took too long. No Exception: Ray tries again after these."""


def init_ray(address: str | None, folder: Path | None, *, verbose: bool) -> None:
    """Join the cluster at `address`, or start Ray where that is HERE; raises ResourceError within START_WITHIN_SECONDS.

    folder: for the sockets and logs of Ray that is started; None: `default_folder()`.
    """
    options: dict[str, Any] = {"_temp_dir": str(folder)} if folder else {}
    before = {child.pid for child in psutil.Process().children()}
    handler = signal.getsignal(signal.SIGTERM)
    stderr = nullcontext(None) if verbose else _stderr_aside()
    written: IO[bytes] | None = None
    try:
        # A terminal that is closed sends SIGHUP to Ray's processes too, and batch systems SIGTERM; trainings are to end as the
        # driver says.
        with stderr as written, kept_from_children(signal.SIGHUP, signal.SIGTERM), _at_most(START_WITHIN_SECONDS):
            ray.init(
                address=address,
                include_dashboard=False if address == HERE else None,
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
            why = reason(error).rstrip(".")
        else:
            raise
        raise ResourceError(_no_ray(address, folder, why, _last_line(written))) from None
    finally:
        _put_back_sigterm(handler)


def default_folder() -> Path:
    """Where Ray puts sockets and logs unless it is told another folder. It may not be there yet."""
    return Path(get_default_ray_temp_dir())  # type: ignore[no-untyped-call]


def _no_ray(address: str | None, folder: Path | None, why: str, last_line: str) -> str:
    if address != HERE:
        return f"the Ray cluster {printable(address or 'that runs here')} cannot be joined: {why}"
    logs = (folder or default_folder()) / "session_latest" / "logs"
    said = f" ({last_line})" if last_line else ""
    return (
        f"Ray cannot be started on this machine: {why}{said}. Its logs are in {printable(logs)}. Look for a full disk or "
        f"/dev/shm and for low limits (ulimit -n, -u, -v); `resources: {{executor: inline}}` trains without Ray"
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


def _put_back_sigterm(handler: Any) -> None:
    """Ray installs one of its own for SIGTERM, which ends the process without a word."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
