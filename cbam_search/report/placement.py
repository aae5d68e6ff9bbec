"""Where attention sits, in one character a site: `..C|.SC|CCC` is three stages of three blocks."""

from __future__ import annotations

import string
from functools import lru_cache
from itertools import groupby

from cbam_search.architecture import ATTENTION_KINDS, Architecture

NOTHING = "."


@lru_cache(maxsize=1024)
def placement_text(architecture: Architecture) -> str:
    """Sites in order, one character each, `|` between stages: `.` for none, else the letter of the kind."""
    letters = _letters()
    characters = [NOTHING if spec is None else letters[spec.kind] for spec in architecture.canonical().attention]
    placed = groupby(zip(architecture.sites, characters, strict=True), key=lambda entry: entry[0].stage)
    return "|".join("".join(character for _, character in stage) for _, stage in placed)


def placement_legend() -> str:
    """One sentence that explains the notation."""
    kinds = ", ".join(f"{letter} {kind}" for kind, letter in _letters().items())
    return f"Attention: one character a block, | between stages; {NOTHING} none, {kinds}."


def _letters() -> dict[str, str]:
    """A letter for every registered kind: its first that no kind registered before has taken, but I and O, like | and 0."""
    letters: dict[str, str] = {}
    for kind in ATTENTION_KINDS:
        wanted = (letter for letter in kind.upper() + string.ascii_uppercase if letter.isalpha() and letter not in "IO")
        letters[kind] = next(letter for letter in wanted if letter not in letters.values())
    return letters
