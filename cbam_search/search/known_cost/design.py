"""The first candidates, before there is a model: plain designs from all over the range of costs, then unlike ones.

Since costs are known, so is the cheapest network of every backbone, the bare one where the space has it: nothing else on that
backbone can take its place on the front unless attention pays. So these come first; then one kind everywhere, with the same
settings, which tells most about a kind. Published designs, where the space holds them, are of both sorts and count as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cbam_search.search.known_cost.candidates import distinct, strangers
from cbam_search.search.known_cost.codes import CodedSpace, Codes
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.search.known_cost.observation_table import ObservationTable

LOOKED_AT = 512


class InitialDesign:
    """feasible: of codes, those within bounds. whole: all feasible codes of a small space."""

    def __init__(self, described: CostsAndFeatures, feasible: Callable[[Codes], Codes], whole: Codes | None) -> None:
        self._described = described
        self._feasible = feasible
        self._whole = whole
        designs = plain_designs(described)
        self._plain = feasible(designs)
        self._before_the_model = {row.tobytes() for row in feasible(designs[: 2 * len(described.coded.backbones)])}
        """The first two rounds: each backbone bare, and with one kind everywhere."""

    def is_due(self, table: ObservationTable, at_most: int) -> bool:
        """Whether fewer than so many of the first two rounds are known, published designs among them, and some are left."""
        return len(self._before_the_model & table.known) < min(at_most, len(self._before_the_model))

    def next(self, table: ObservationTable, rng: np.random.Generator) -> Codes | None:
        """(1 + units,), of no trial in `table`; None where nothing new was found."""
        plain = distinct(self._plain, table.known)
        return np.asarray(plain[0]) if len(plain) else self._spread_out(table, rng)

    def _spread_out(self, table: ObservationTable, rng: np.random.Generator) -> Codes | None:
        """Stratified over cost, and within the stratum the one least like all trials so far."""
        codes = self._whole if self._whole is not None else self._feasible(strangers(self._described.coded, rng, LOOKED_AT))
        codes = distinct(codes, table.known)
        if len(codes) == 0:
            return None
        codes = codes[rng.permutation(len(codes))[:LOOKED_AT]]
        costs = self._described.costs(codes)
        features = self._described.features(codes, costs)
        tried = table.all_features()
        order = np.lexsort((costs[:, 1], costs[:, 0]))
        share = van_der_corput(len(tried))
        width = max(1, len(order) // 8)
        start = min(int(share * len(order)), len(order) - width)
        stratum = order[start : start + width]
        if len(tried) == 0:
            return np.asarray(codes[stratum[0]])
        nearest = np.min(((features[stratum][:, None] - tried[None]) ** 2).sum(axis=2), axis=1)
        return np.asarray(codes[stratum[int(np.argmax(nearest))]])


def plain_designs(described: CostsAndFeatures) -> Codes:
    """(n, 1 + units): the cheapest architecture of each backbone, then each backbone with one kind everywhere, kinds in turn.

    Backbones are in the order of least, middle, quarters, eighths, ... of their costs.
    """
    cheapest = np.stack([_cheapest(described, number) for number in range(len(described.coded.backbones))])
    count = len(cheapest)
    by_cost = np.lexsort(described.costs(cheapest).T[::-1])
    places = dict.fromkeys((*(int(van_der_corput(number) * count) for number in range(2 * count)), *range(count)))
    order = [int(by_cost[place]) for place in places]
    everywhere = [_everywhere(described.coded, number) for number in order]
    rounds = range(max(map(len, everywhere)))
    in_turn = [rows[(turn + place) % len(rows)] for turn in rounds for place, rows in enumerate(everywhere) if rows]
    designs = np.stack([*cheapest[order], *in_turn])
    return distinct(designs, set())


def _cheapest(described: CostsAndFeatures, number: int) -> Codes:
    """(1 + units,), of this backbone what has the fewest multiply-adds, then parameters."""
    coded = described.coded
    code = np.full(coded.width, -1, dtype=np.int32)
    columns = [column for column, _ in coded.units_of(number)]
    code[[0, *columns]] = [number, *(0 for _ in columns)]
    for column in columns:
        tried = np.repeat(code[None], coded.choices(number, column), axis=0)
        tried[:, column] = np.arange(len(tried))
        costs = described.costs(tried)
        code[column] = np.lexsort((costs[:, 1], costs[:, 0]))[0]
    return code


def _everywhere(coded: CodedSpace, number: int) -> list[Codes]:
    """Of each kind that the space offers on this backbone, the same settings in all units, the first that the YAML allows."""
    groups = coded.by_kind(number)
    kinds = dict.fromkeys(kind for options in groups.values() for kind in options if kind != "none")
    found = []
    for kind in kinds:
        source = next(column for column, options in groups.items() if kind in options)
        option = int(groups[source][kind][0])
        code = np.full(coded.width, -1, dtype=np.int32)
        code[0] = number
        for column in groups:
            code[column] = coded.translated(number, source, option, number, column)
        found.append(code)
    return found


def van_der_corput(number: int) -> float:
    """The number's binary digits mirrored at the point: 0, 1/2, 1/4, 3/4, ...; any beginning of it fills 0 to 1 evenly."""
    share, place = 0.0, 0.5
    while number:
        share += place * (number & 1)
        number, place = number >> 1, place / 2
    return share
