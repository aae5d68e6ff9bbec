"""Codes by chance: whole ones, options of all units of a backbone, and a code carried over to another backbone."""

from __future__ import annotations

import numpy as np

from cbam_search.search.known_cost.codes import CodedSpace, Codes


def random_codes(coded: CodedSpace, rng: np.random.Generator, count: int) -> Codes:
    """(count, 1 + units). Backbones are equally likely; then as `random_options`."""
    backbones = rng.integers(len(coded.backbones), size=count)
    codes = np.full((count, coded.width), -1, dtype=np.int32)
    codes[:, 0] = backbones
    for number in np.unique(backbones):
        rows = np.flatnonzero(backbones == number)
        codes[rows, 1:] = random_options(coded, rng, int(number), len(rows))
    return codes


def random_options(coded: CodedSpace, rng: np.random.Generator, number: int, count: int) -> Codes:
    """(count, units). In every unit a kind first, then one of its options.

    In half of the rows all kinds are equally likely. The others each have preferences of their own, so that networks with
    much of one kind or hardly any attention occur too, which equal chances in many units never give.
    """
    chosen = np.full((count, coded.width - 1), -1, dtype=np.int32)
    groups_by_column = coded.by_kind(number)
    kinds = list(dict.fromkeys(kind for groups in groups_by_column.values() for kind in groups))
    even = np.full((count, len(kinds)), 1.0)
    preferences = np.where((rng.random(count) < 0.5)[:, None], even, rng.gamma(0.5, size=(count, len(kinds))) + 1e-9)
    for column, groups in groups_by_column.items():
        of_kind = [groups.get(kind, np.empty(0, dtype=np.int32)) for kind in kinds]
        weights = preferences * np.array([len(group) > 0 for group in of_kind])
        edges = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
        picked = np.minimum((rng.random(count)[:, None] > edges).sum(axis=1), len(kinds) - 1)
        within = rng.random(count)
        for index, group in enumerate(of_kind):
            rows = np.flatnonzero(picked == index)
            if len(rows) and len(group):
                chosen[rows, column - 1] = group[(within[rows] * len(group)).astype(np.int64)]
        # Rounding may end at a kind that the unit lacks.
        lacking = chosen[:, column - 1] < 0
        chosen[lacking, column - 1] = 0
    return chosen


def moved(coded: CodedSpace, code: Codes, number: int, rng: np.random.Generator) -> Codes:
    """The same choices on another backbone; units that `code` lacks take those of the stage's last one, or chance."""
    if number == code[0]:
        return code.copy()
    result = np.full(coded.width, -1, dtype=np.int32)
    result[0] = number
    last: dict[int, int] = {}
    for column, unit in coded.units_of(number):
        stage = coded.space.sites_of(coded.backbones[number], unit)[0].stage
        source = column if code[column] >= 0 else last.get(stage)
        if source is None:
            result[column] = rng.integers(coded.choices(number, column))
        else:
            last[stage] = source
            result[column] = coded.translated(int(code[0]), source, int(code[source]), number, column)
    return result
