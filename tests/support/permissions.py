"""Permissions that bind the code under test, also where the tests run as root, who passes over them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

_WITHOUT_RIGHTS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


def unprivileged() -> tuple[str, ...]:
    """What goes before a command so that permissions hold for it; skips the test where root cannot drop that right."""
    if os.geteuid() != 0:
        return ()
    if not _can_drop_rights():
        pytest.skip("root passes over permissions, and cannot drop that right here")
    return _WITHOUT_RIGHTS


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in it can be written; for root, only by a command that follows `unprivileged()`."""
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@cache
def _can_drop_rights() -> bool:
    return bool(shutil.which("setpriv")) and subprocess.run([*_WITHOUT_RIGHTS, "true"], check=False).returncode == 0
