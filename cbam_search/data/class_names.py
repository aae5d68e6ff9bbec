"""Class names that look alike: one class in two spellings is learnt as two."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

from cbam_search.data.wording import listed
from cbam_search.errors import DataError


def check_class_names(names: Sequence[str]) -> Iterator[str]:
    """A note for each kind of names that may be meant to be one.

    Raises DataError for names that nobody can tell apart: of the same letters in another Unicode form, or with blanks or
    invisible characters more.
    """
    for fold, what in ((_nfc, "in their Unicode form (a letter with its accent, or both apart)"), (visible, "in blanks")):
        for alike in _alike(names, fold):
            escaped = " and ".join(ascii(name) for name in alike)
            raise DataError(
                f"{len(alike)} classes differ only {what}: {escaped}. Give them one name, in folders and tables alike."
            )
    for fold, what in ((without_case, "in case or the form of letters"), (_number, "as numbers are written")):
        found = list(_alike(names, fold))
        if found:
            pairs = listed((" and ".join(alike) for alike in found), 3)
            yield f"Classes that differ only {what}: {pairs}. Name them alike if they are one."


def _alike(names: Iterable[str], fold: Callable[[str], str]) -> Iterator[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(fold(name), []).append(name)
    return (sorted(group) for group in groups.values() if len(group) > 1)


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def visible(name: str) -> str:
    """Without format characters, such as a space of no width, and blanks of any kind as one."""
    return " ".join("".join(letter for letter in _nfc(name) if unicodedata.category(letter) != "Cf").split())


def without_case(name: str) -> str:
    """Names that are equal by this differ in case, or in the form of letters."""
    return unicodedata.normalize("NFKC", visible(name)).casefold()


def _number(name: str) -> str:
    try:
        return f"number {float(name)!r}"
    except ValueError:
        return name
