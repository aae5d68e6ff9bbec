"""Where attention sits, in one character a block: `..C|.SC|CCC` is three stages of three blocks."""

from __future__ import annotations

import string
from collections.abc import Mapping
from functools import lru_cache

from cbam_search.architecture import ATTENTION_KINDS, Architecture, Site

NOTHING = "."
MARKS = {"pre": "<", "identity": "=", "post": ">"}
"""Behind the letter of a place that is not the usual one."""


@lru_cache(maxsize=1024)
def placement_text(architecture: Architecture) -> str:
    """Blocks in order, `|` between stages: `.` for none, else the letter of the kind.

    A block has as many characters as it has usual places: one, in a MobileNet two (depthwise, pointwise). Attention elsewhere
    in the block has a mark behind its letter: `S<` before the branch, `S=` on the shortcut, `S>` after the block.
    """
    stages: dict[int, dict[str, list[Site]]] = {}
    for site in architecture.sites:
        stages.setdefault(site.stage, {}).setdefault(site.block, []).append(site)
    letters = _letters()
    placed = {name: letters[spec.kind] for name, spec in architecture.canonical().attention}
    usual = architecture.backbone.default_position
    return "|".join("".join(_block(sites, placed, usual) for sites in blocks.values()) for blocks in stages.values())


def placement_legend() -> str:
    """One sentence that explains the notation."""
    kinds = ", ".join(f"{letter} {kind}" for kind, letter in _letters().items())
    marks = ", ".join(f"{mark} {position}" for position, mark in MARKS.items())
    return f"Attention: one character a block, | between stages; {NOTHING} none, {kinds}; {marks} or stage_end."


def _block(sites: list[Site], letters: Mapping[str, str], usual: str) -> str:
    """letters: of the kind at each site that has attention, by the site's name."""
    at_usual = "".join(letters.get(site.name, NOTHING) for site in sites if usual in site.positions)
    elsewhere = "".join(
        letters[site.name] + MARKS[site.positions[0]] for site in sites if site.name in letters and usual not in site.positions
    )
    return elsewhere if elsewhere and not at_usual.strip(NOTHING) else at_usual + elsewhere


def _letters() -> dict[str, str]:
    """A letter for every registered kind: its first that no kind registered before has taken, but I and O, like | and 0."""
    letters: dict[str, str] = {}
    for kind in ATTENTION_KINDS:
        wanted = (letter for letter in kind.upper() + string.ascii_uppercase if letter.isalpha() and letter not in "IO")
        letters[kind] = next(letter for letter in wanted if letter not in letters.values())
    return letters
