"""Named things that can be added to: names are unique, and a wrong name is answered with the valid ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

from cbam_search.errors import UnknownNameError
from cbam_search.safe_text import printable

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from names to items of one sort; `noun` says which, for error messages."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._items: dict[str, T] = {}

    def register(self, name: str, item: T) -> T:
        """Add `item`; raises ValueError when the name is taken."""
        if name in self._items:
            raise ValueError(f"{self.noun} '{name}' is registered already")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            raise UnknownNameError(unknown_name(self.noun, name, self.names()))
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._items)


_LONGEST = 200


def unknown_name(noun: str, name: str, valid: tuple[str, ...]) -> str:
    """The sentence for a wrong name: what was found, the nearest valid name, all valid ones."""
    nearest = difflib.get_close_matches(name[:_LONGEST].lower(), valid, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown {noun} '{printable(name)}'.{hint} Valid: {', '.join(valid)}"
