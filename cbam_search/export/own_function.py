"""The user's own function, read from a file beside this one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def own_function(file: Path, name: str) -> Callable[..., Any]:
    """`name` of the module in `file`; raises ImportError."""
    # Under a name that nobody else has: two exported networks may be used in one program.
    spec = importlib.util.spec_from_file_location(f"own_backbone {file}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, name)
    return function
