"""Imports a user's own code, only where that is allowed; when it fails, the error says where and why."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbam_search.errors import CodeNotAllowedError, OwnCodeError
from cbam_search.own_source import INSTALLED, did_you_mean, digest_of, importing_from, own_place, source_files

_PYTHONS_OWN = Path(sysconfig.get_path("stdlib"))
_imported: dict[str, str] = {}
"""What was imported here, by module: the digest of its file then."""


@dataclass(frozen=True)
class CodePermission:
    """Whether a user's own code may run, and where it is imported from.

    folder: where its modules are looked for, after the Python path; None: no such code may run.
    """

    folder: Path | None = None

    @classmethod
    def of(cls, allow_code: bool) -> CodePermission:
        """For code that is found from the current folder, as it is now; `NO_CODE` where it is not allowed."""
        return cls(Path.cwd()) if allow_code else NO_CODE

    def require(self, what: str) -> Path:
        """The folder. Raises CodeNotAllowedError where code may not run; `what` says in a sentence whose code it is."""
        if self.folder is None:
            raise CodeNotAllowedError(
                f"{what} Code that a YAML file or an architecture names is run only with --allow-code (in Python, "
                f"allow_code=True): read it first."
            )
        return self.folder


NO_CODE = CodePermission()
"""No code of a user's may run."""


def import_function(name: str, folder: Path) -> Callable[..., Any]:
    """The function `package.module:function`, its module imported anew where its source has changed since.

    Raises OwnCodeError when it is not found, or importing its module fails.
    """
    module_name, _, function_name = name.partition(":")
    digests = {each: digest_of({each: file}) + str(file) for each, file in source_files(name, folder).items()}
    if any(_imported.get(each, digest) != digest for each, digest in digests.items()):
        for each in digests:
            if _imported.pop(each, None):
                sys.modules.pop(each, None)
    # What somebody else imported is theirs: it stays as it is.
    _imported.update({each: digest for each, digest in digests.items() if each not in sys.modules})
    with importing_from(folder):
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            raise OwnCodeError(f"{module_name} cannot be imported: {in_words(error)}") from error
    if not callable(function := getattr(module, function_name, None)):
        found = [each for each, value in vars(module).items() if callable(value)]
        raise OwnCodeError(f"{module_name} has no function '{function_name}'.{did_you_mean(function_name, found)}")
    return function  # type: ignore[no-any-return]


def in_words(error: BaseException) -> str:
    """Type and message of an error in the user's code, and the line of that code that it came from, where there is one."""
    everything = traceback.extract_tb(error.__traceback__)
    package = Path(__file__).parent
    theirs = [frame for frame in everything if not (_is_installed(frame.filename) or package in Path(frame.filename).parents)]
    where = f" ({Path(theirs[-1].filename).name}:{theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{where}{_hidden_hint(error, theirs or everything)}"


def _hidden_hint(error: BaseException, frames: list[traceback.FrameSummary]) -> str:
    """Where something is not found in a module that stands in for a file of that name beside the user's code."""
    if isinstance(error, ImportError):
        name = error.name
    else:
        name = getattr(getattr(error, "obj", None), "__name__", None) if isinstance(error, AttributeError) else None
    if not name or not frames:
        return ""
    top, folder = name.partition(".")[0], Path(frames[-1].filename).parent
    own, loaded = own_place(top, folder), getattr(sys.modules.get(top), "__file__", None)
    if own is None or (loaded and folder in Path(loaded).parents):
        return ""
    return f". {own.name} beside it has the name of another module, which is found first: rename it"


def _is_installed(file: str) -> bool:
    return file.startswith("<") or _PYTHONS_OWN in Path(file).parents or bool(INSTALLED & set(Path(file).parts))
