"""The versions that a report of a fault needs, read from what is installed: nothing is imported."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from cbam_search import __version__

PACKAGES = ("torch", "ray", "optuna", "mlflow")


def versions_text() -> str:
    """This package's version, and on a second line those of Python and of what it is built on."""
    others = ", ".join(f"{package} {_installed(package)}" for package in PACKAGES)
    return f"cbam-search {__version__}\nPython {platform.python_version()}, {others}"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"
