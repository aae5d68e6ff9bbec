"""Where this machine keeps what several studies may use again."""

from __future__ import annotations

import os
from pathlib import Path

from cbam_search.errors import UserError


def cache_folder(of: str) -> Path:
    """The folder of one cache, such as `datasets`: in $XDG_CACHE_HOME, else in ~/.cache. It may not be there yet.

    A relative $XDG_CACHE_HOME is passed over, as its specification asks. Raises UserError where this user has no home either,
    as in a container that runs under a number.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given / "cbam-search" / of
    try:
        return Path.home() / ".cache" / "cbam-search" / of
    except RuntimeError:
        raise UserError(
            f"there is no folder to keep {of} in: this user has no home folder. Set HOME or XDG_CACHE_HOME to a folder that "
            f"can be written"
        ) from None
