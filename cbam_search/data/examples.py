"""How many images show a thing, with the first of them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_NAMED = 3


@dataclass
class Examples:
    """count: of images. names: of the first three, each with what is to be said of it."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: Callable[[], str], remark: str = "") -> None:
        """Count one image. name: where a reader finds it; asked for only where it is shown. remark: what is wrong with it."""
        self.count += 1
        if len(self.names) < _NAMED:
            self.names.append(f"{name()} ({remark})" if remark else name())

    def __str__(self) -> str:
        """`a.png (torn), b.png (torn), c.png (torn) and 4 more`."""
        more = self.count - len(self.names)
        return f"{', '.join(self.names)} and {more:,} more" if more else ", ".join(self.names)
