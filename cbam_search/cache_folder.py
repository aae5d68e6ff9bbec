"""Where this machine keeps what several studies may use again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(of: str) -> Path:
    """The folder of one cache, such as `datasets`: in $XDG_CACHE_HOME, else in ~/.cache. It may not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cbam-search" / of
