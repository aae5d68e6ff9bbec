"""A home folder for packages that cannot be imported without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cbam_search.variables import set_meanwhile


@contextmanager
def home_given() -> Iterator[None]:
    """Where this user has no home folder, as in a container that runs under a number, `/` is it meanwhile.

    So do container engines have it. Ray and MLflow only name files there.
    """
    if has_home():
        yield
        return
    with set_meanwhile({"HOME": "/"}):
        yield


def has_home() -> bool:
    """Whether it can be told; it may not be there, or not be writable."""
    try:
        Path.home()
    except RuntimeError:
        return False
    return True
