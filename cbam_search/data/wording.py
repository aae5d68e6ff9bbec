"""How names and numbers of the data are written in messages: printable, and never more than a few."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cbam_search.safe_text import printable

_NAME_CHARACTERS = 60


def listed(names: Iterable[object], limit: int = 3) -> str:
    """`a, b, c and 4 more`."""
    every = list(names)
    shown = ", ".join(printable(name, _NAME_CHARACTERS) for name in every[:limit])
    return shown if len(every) <= limit else f"{shown} and {len(every) - limit:,} more"


def inside(path: Path, root: Path) -> str:
    """`path` as it is called from `root`, printable."""
    return printable(path.relative_to(root).as_posix() if path.is_relative_to(root) else path)
