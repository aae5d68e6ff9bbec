"""Python expressions as text, broken over lines as ruff would break them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

LINE_LENGTH = 128
INDENT = "    "


@dataclass(frozen=True)
class Call:
    """A call of `name`, with positional arguments and then keyword arguments."""

    name: str
    arguments: tuple[object, ...] = ()
    keywords: dict[str, object] = field(default_factory=dict)


def render(value: object, depth: int = 0, used: int = 0) -> str:
    """`value` (a Call, a tuple, a string, a number, None) as Python source.

    depth: levels of indentation of its line. used: columns of that line that are taken before and after it. What does not fit
    takes a line an entry.
    """
    if isinstance(value, str):
        text = "".join(map(_visible, json.dumps(value, ensure_ascii=False)))
        return text if '"' not in value or "'" in value else "'" + text[1:-1].replace('\\"', '"') + "'"
    if not isinstance(value, Call | tuple):
        return repr(value)
    opening, entries = _entries(value)
    closing = ",)" if isinstance(value, tuple) and len(value) == 1 else ")"
    line = opening + ", ".join(prefix + render(entry, depth, -LINE_LENGTH) for prefix, entry in entries) + closing
    if not entries or ("\n" not in line and len(INDENT) * depth + used + len(line) <= LINE_LENGTH):
        return line
    inner = INDENT * (depth + 1)
    lines = [f"{inner}{prefix}{render(entry, depth + 1, len(prefix) + 1)}," for prefix, entry in entries]
    return "\n".join([opening, *lines, INDENT * depth + ")"])


def _visible(character: str) -> str:
    """Marks that turn the direction of writing, and others that do not show, would make source read otherwise than it runs."""
    return character if character.isprintable() else ascii(character)[1:-1]


def _entries(value: Call | tuple[object, ...]) -> tuple[str, list[tuple[str, object]]]:
    """What opens the expression, and its entries with what stands before each."""
    if isinstance(value, tuple):
        return "(", [("", entry) for entry in value]
    keywords = [(f"{name}=", entry) for name, entry in value.keywords.items()]
    return f"{value.name}(", [*(("", entry) for entry in value.arguments), *keywords]
