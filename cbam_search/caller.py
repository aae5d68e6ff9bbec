"""The process of whoever calls this package from Python: what it finds afterwards is as it was before."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def left_as_found() -> Iterator[None]:
    """Put back at the end: environment variables, filters of warnings, the current folder, and the state of random numbers.

    Those are Python's, and where they were imported before numpy's and torch's, with torch's number of threads.
    """
    environment, drawn, folder = dict(os.environ), random.getstate(), os.getcwd()  # noqa: PTH109
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    numpy_drawn = numpy.random.get_state() if numpy else None
    torch_drawn, threads = (torch.get_rng_state(), torch.get_num_threads()) if torch else (None, None)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        _put_back(environment)
        random.setstate(drawn)
        if numpy:
            numpy.random.set_state(numpy_drawn)
        if torch:
            torch.set_rng_state(torch_drawn)
            torch.set_num_threads(threads)
        with suppress(OSError):  # it may be gone
            os.chdir(folder)


def _put_back(environment: dict[str, str]) -> None:
    """Only what differs: other threads may read it meanwhile."""
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
