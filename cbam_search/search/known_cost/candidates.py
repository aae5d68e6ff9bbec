"""Candidates for the next training: relatives of the front, and strangers. All are codes, see `codes`."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from cbam_search.search.known_cost.codes import CodedSpace, Codes
from cbam_search.search.known_cost.drawing import moved, random_codes, random_options

RANDOM, MUTANTS, CROSSINGS = 192, 256, 96
"""How many of each are made for one proposal."""
WHOLE_SPACE_AT_MOST = 2_000
"""Spaces of no more architectures are looked at whole."""


def strangers(coded: CodedSpace, rng: np.random.Generator, count: int = RANDOM) -> Codes:
    """Random candidates."""
    return random_codes(coded, rng, count)


def mutants(coded: CodedSpace, parents: Codes, rng: np.random.Generator, count: int = MUTANTS) -> Codes:
    """Children of random parents (m, width).

    Of eight, five change few units (one in half of the cases), one gives all units of a stage the same settings, one goes
    to another backbone as it is, one goes there and changes a few units.
    """
    children = parents[rng.integers(len(parents), size=count)].copy()
    ways = rng.integers(8, size=count)
    if len(coded.backbones) > 1:
        for row in np.flatnonzero(ways >= 6):
            others = [number for number in range(len(coded.backbones)) if number != children[row, 0]]
            children[row] = moved(coded, children[row], int(rng.choice(others)), rng)
    for number in np.unique(children[:, 0]):
        rows = np.flatnonzero((children[:, 0] == number) & (ways != 6))
        _change_units(coded, children, rows, rng)
        _change_stages(coded, children, rows[ways[rows] == 5], rng)
    return children


def _change_units(coded: CodedSpace, children: Codes, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> None:
    """In place: one unit or a few take another option each."""
    if len(rows) == 0:
        return
    number = int(children[rows[0], 0])
    columns = np.array([column for column, _ in coded.units_of(number)], dtype=np.int64)
    if len(columns) == 0:
        return
    wanted = np.minimum(rng.geometric(0.5, size=len(rows)), len(columns))
    ranks = rng.random((len(rows), len(columns))).argsort(axis=1).argsort(axis=1)
    changed = ranks < wanted[:, None]
    drawn = random_options(coded, rng, number, len(rows))[:, columns - 1]
    children[rows[:, None], columns[None]] = np.where(changed, drawn, children[rows[:, None], columns[None]])


def _change_stages(coded: CodedSpace, children: Codes, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> None:
    """In place: all units of one stage take the settings that one of them drew."""
    for row in rows:
        number = int(children[row, 0])
        stages: dict[int, list[int]] = {}
        for column, unit in coded.units_of(number):
            stages.setdefault(coded.space.sites_of(coded.backbones[number], unit)[0].stage, []).append(column)
        if not stages:
            continue
        columns = stages[list(stages)[int(rng.integers(len(stages)))]]
        source = columns[int(rng.integers(len(columns)))]
        option = int(random_options(coded, rng, number, 1)[0, source - 1])
        for column in columns:
            children[row, column] = coded.translated(number, source, option, number, column)


def crossings(coded: CodedSpace, parents: Codes, rng: np.random.Generator, count: int = CROSSINGS) -> Codes:
    """Children of two parents on the first one's backbone; each unit is of either with equal chance."""
    mothers, fathers = (parents[rng.integers(len(parents), size=count)] for _ in range(2))
    children = mothers.copy()
    take = rng.random(children.shape) < 0.5
    for row in range(count):
        other = moved(coded, fathers[row], int(mothers[row, 0]), rng)
        children[row, take[row]] = other[take[row]]
    return children


def distinct(codes: Codes, *known: Collection[bytes]) -> Codes:
    """The codes that are in none of `known`, each once, in the order of their first."""
    _, first = np.unique(codes, axis=0, return_index=True)
    ordered = codes[np.sort(first)]
    for entries in filter(None, known):
        ordered = ordered[[row.tobytes() not in entries for row in ordered]]
    return ordered
