"""Where worker processes look for modules: where this process does, but for the folder that it was launched in.

Python puts the folder of a script, or the current one, first on the path. What happens to lie there must not stand in for
modules of the same name. A user's own code is imported by its name, after everything else: see `own_code`.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

from cbam_search.own_source import folders_of_python_path


def worker_path() -> list[str]:
    """`sys.path` for a worker process. What PYTHONPATH names stays."""
    named = folders_of_python_path()
    launched_from = _launched_from() - named
    kept = [entry for entry in sys.path if entry and Path(entry).resolve() not in launched_from]
    return [*kept, *folder_of_this_package()]


def folder_of_this_package() -> list[str]:
    """The folder that workers need to find cbam_search; none where they find it anyway.

    They do not in a checkout that is not installed, where `python -m cbam_search` finds it in the current folder.
    """
    home = Path(__file__).resolve().parents[2]
    elsewhere = {Path(entry).resolve() for entry in sys.path if entry} - _launched_from()
    found = home in elsewhere | folders_of_python_path() or _found_without_path()
    return [] if found else [str(home)]


def _launched_from() -> set[Path]:
    return {Path.cwd(), Path(sys.argv[0]).resolve().parent}


def _found_without_path() -> bool:
    """As an editable installation is."""
    finders = [finder for finder in sys.meta_path if finder is not PathFinder and hasattr(finder, "find_spec")]
    return any(finder.find_spec("cbam_search", None) for finder in finders)
