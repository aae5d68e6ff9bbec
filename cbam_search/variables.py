"""Environment variables: `${NAME}` in settings, and those that are set for a while."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cbam_search.errors import UserError
from cbam_search.safe_text import remember_secret

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""Its first group is the name."""

_WITHOUT_BRACES = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_PASSWORD = re.compile(
    rf"(?:(?<=:)|(?<=password=)|(?<=passwd=)|(?<=pwd=)|(?<=token=)|(?<=secret=)){VARIABLE.pattern}(?=@|&|$)", re.IGNORECASE
)
"""A variable that stands where a URL has its password."""


def brace_hint(text: str) -> str:
    """A sentence, with the blank before it, on `$NAME` in `text`, which stays as it is; empty where there is none."""
    found = _WITHOUT_BRACES.search(text)
    return f" An environment variable is written ${{{found[1]}}}." if found else ""


def with_known_variables(text: str) -> str:
    """`text` with each variable that is set replaced; the others stay as they are."""
    return VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), text)


def with_variables(text: str, setting: str) -> str:
    """`text` with each variable replaced; raises UserError, which names the setting, where one is not set.

    What stands in a password's place is hidden in every message from now on.
    """
    for name in _PASSWORD.findall(text):
        remember_secret(required(name, setting))
    return VARIABLE.sub(lambda match: required(match[1], setting), text)


def required(name: str, setting: str) -> str:
    """The variable's value; raises UserError where it is not set."""
    if name not in os.environ:
        raise UserError(f"{setting} needs the environment variable {name}, which is not set")
    return os.environ[name]


@contextmanager
def set_meanwhile(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables by name; what they were before is put back at the end."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
