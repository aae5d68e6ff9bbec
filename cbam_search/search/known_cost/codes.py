"""A space as tables of whole numbers, so that thousands of candidates are made, costed and described in milliseconds.

A code is a row of whole numbers: the backbone, then for every unit of the space which of its options it takes, or -1 where the
backbone lacks the unit. Options are canonical and without repeats (see `Space.options`), so two codes are equal exactly where
the architectures are. Costs and features are sums over units; what a unit's option adds is worked out when it is first met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from cbam_search.architecture import AnyBackbone, Architecture, published
from cbam_search.cost.cost import CostFunction
from cbam_search.search.known_cost.features import FeatureMap, Matrix, Vector
from cbam_search.search.space_costs import AXES, SCALES
from cbam_search.space.space import Choice, Space, UnitOption

Codes = npt.NDArray[np.int32]
"""(n, 1 + units)."""
COSTS = AXES
"""Columns of costs: gflops, params."""
REMEMBERED_AT_MOST = 50_000
"""Options of units whose features are remembered; then all are forgotten. Bounds memory to about 100 MB."""
SAMPLED_FOR_SCALE = 512


class CodedSpace:
    """Codes of one space, with their costs and standardised features."""

    def __init__(self, space: Space, cost: CostFunction) -> None:
        self.space = space
        self._cost = cost
        self.backbones = space.backbones
        self._numbers: dict[AnyBackbone, int] = {backbone: number for number, backbone in enumerate(self.backbones)}
        self._columns = {unit: column for column, unit in enumerate(space.units, start=1)}
        self._options = [self._by_column(space.options(backbone)) for backbone in self.backbones]
        self._indices = [
            {column: {option: index for index, option in enumerate(offered)} for column, offered in by_column.items()}
            for by_column in self._options
        ]
        self.width = 1 + len(self._columns)
        self._bare_costs = np.array([self._whole(published(backbone, None)) for backbone in self.backbones])
        self._translations: dict[tuple[int, int, int, int, int], int] = {}
        self.map = FeatureMap(space)
        self._forget()
        self._kinds = [{column: _kinds_of(offered) for column, offered in entry.items()} for entry in self._options]
        self._standardise()

    def _by_column(self, options: Mapping[str, tuple[UnitOption, ...]]) -> dict[int, tuple[UnitOption, ...]]:
        return {self._columns[unit]: offered for unit, offered in options.items()}

    def _standardise(self) -> None:
        """By random architectures of the space, always the same: features do not depend on what was observed."""
        sample = self.random(np.random.default_rng(0), SAMPLED_FOR_SCALE)
        costs = self.costs(sample)
        self.map.centre(costs[:, 0])
        raw = self._raw(sample, costs)
        self._mean, deviation = raw.mean(axis=0), raw.std(axis=0)
        self._scale = self.map.prior_scale / np.where(deviation > 1e-6, deviation, 1.0)

    # Codes and architectures

    def code(self, architecture: Architecture) -> Codes | None:
        """(1 + units,), of a canonical architecture; None where it lies outside the space."""
        number = self._numbers.get(architecture.backbone)
        if number is None:
            return None
        code = np.full(self.width, -1, dtype=np.int32)
        code[0] = number
        specs = dict(architecture.attention)
        for column, unit in self.units_of(number):
            sites = self.space.sites_of(self.backbones[number], unit)
            index = self._indices[number][column].get(tuple(specs.pop(site.name, None) for site in sites))
            if index is None:
                return None
            code[column] = index
        return None if specs else code

    def architecture(self, code: Codes) -> Architecture:
        number = int(code[0])
        chosen = {unit: self._options[number][column][code[column]] for column, unit in self.units_of(number)}
        return self.space.with_options(self.backbones[number], chosen)

    def parameters(self, code: Codes) -> dict[str, Choice]:
        """The space's parameters that decode to the architecture."""
        parameters = self.space.encode(self.architecture(code))
        assert parameters is not None
        return parameters

    def units_of(self, number: int) -> Iterator[tuple[int, str]]:
        """(column, unit) of those that this backbone has."""
        return ((self._columns[unit], unit) for unit in self.space.units_of(self.backbones[number]))

    def choices(self, number: int, column: int) -> int:
        """How many options this unit has on this backbone; 0 where there is no such unit."""
        return len(self._options[number].get(column, ()))

    def by_kind(self, number: int) -> Mapping[int, Mapping[str, Codes]]:
        """Of each unit of this backbone, by column: which of its options are of each kind, `none` among them."""
        return self._kinds[number]

    def all(self) -> Codes:
        """Every code of the space; for small ones."""
        parts = []
        for number, by_column in enumerate(self._options):
            grids = np.meshgrid(*(np.arange(len(offered)) for offered in by_column.values()), indexing="ij")
            part = np.full((grids[0].size if grids else 1, self.width), -1, dtype=np.int32)
            part[:, 0] = number
            for column, grid in zip(by_column, grids, strict=True):
                part[:, column] = grid.ravel()
            parts.append(part)
        return np.concatenate(parts)

    # Chance

    def random(self, rng: np.random.Generator, count: int, *, backbones: npt.NDArray[np.int64] | None = None) -> Codes:
        """(count, 1 + units): backbones as given, or each equally likely; then as `random_options`."""
        if backbones is None:
            backbones = rng.integers(len(self.backbones), size=count)
        codes = np.full((count, self.width), -1, dtype=np.int32)
        codes[:, 0] = backbones
        for number in np.unique(backbones):
            rows = np.flatnonzero(backbones == number)
            codes[rows, 1:] = self.random_options(rng, int(number), len(rows))
        return codes

    def random_options(self, rng: np.random.Generator, number: int, count: int) -> Codes:
        """(count, units). In every unit a kind first, then one of its options.

        In half of the rows all kinds are equally likely. The others each have preferences of their own, so that networks with
        much of one kind or hardly any attention occur too, which equal chances in many units never give.
        """
        chosen = np.full((count, self.width - 1), -1, dtype=np.int32)
        kinds = list(dict.fromkeys(kind for groups in self._kinds[number].values() for kind in groups))
        even = np.full((count, len(kinds)), 1.0)
        preferences = np.where((rng.random(count) < 0.5)[:, None], even, rng.gamma(0.5, size=(count, len(kinds))) + 1e-9)
        for column, groups in self._kinds[number].items():
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

    def moved(self, code: Codes, number: int, rng: np.random.Generator) -> Codes:
        """The same choices on another backbone; units that `code` lacks take those of the stage's last one, or chance."""
        if number == code[0]:
            return code.copy()
        result = np.full(self.width, -1, dtype=np.int32)
        result[0] = number
        last: dict[int, int] = {}
        for column, unit in self.units_of(number):
            stage = self.space.sites_of(self.backbones[number], unit)[0].stage
            source = column if code[column] >= 0 else last.get(stage)
            if source is None:
                result[column] = rng.integers(self.choices(number, column))
            else:
                last[stage] = source
                result[column] = self.translated(int(code[0]), source, int(code[source]), number, column)
        return result

    def translated(self, number: int, column: int, index: int, to: int, to_column: int) -> int:
        """Which option of another unit is given by the same settings."""
        key = (number, column, index, to, to_column)
        if key not in self._translations:
            here = self.space.sites_of(self.backbones[number], self.space.units[column - 1])
            there = self.space.sites_of(self.backbones[to], self.space.units[to_column - 1])
            carried = self.space.carried(self._options[number][column][index], here, there)
            self._translations[key] = self._indices[to][to_column][carried]
        return self._translations[key]

    # Costs and features

    def costs(self, codes: Codes) -> Matrix:
        """(n, 2): gflops and params, exact."""
        whole = self._bare_costs[codes[:, 0]].copy()
        for part, rows in self._rows(codes):
            for column in range(rows.shape[1]):
                whole[part] += self._row_costs[rows[:, column]]
        return np.asarray(whole / np.array([SCALES[name] for name in AXES]))

    def costs_of(self, architecture: Architecture) -> tuple[float, float]:
        """The same of any architecture."""
        cost = self._cost(architecture)
        return cost.gflops, float(cost.params)

    def features(self, codes: Codes, costs: Matrix | None = None) -> Matrix:
        """(n, p), standardised over the space and scaled by what the prior expects of each column."""
        raw = self._raw(codes, self.costs(codes) if costs is None else costs)
        return np.asarray((raw - self._mean) * self._scale)

    def features_of(self, architecture: Architecture) -> Vector | None:
        """(p,), the same of any canonical architecture on one of the space's backbones, published designs outside it too; None
        where some of it has no column.
        """
        if not self.map.knows(architecture):
            return None
        cost = self._cost(architecture)
        return np.asarray((self.map.of(architecture, cost.gflops, cost.params) - self._mean) * self._scale)

    def _raw(self, codes: Codes, costs: Matrix) -> Matrix:
        raw = self._bare_features[codes[:, 0]].copy()
        for part, rows in self._rows(codes):
            total = raw[part]
            for column in range(rows.shape[1]):
                total += self._row_features[rows[:, column]]
            raw[part] = total
        self.map.finish(raw, costs[:, 0], costs[:, 1])
        return raw

    def _forget(self) -> None:
        self._bare_features = np.array([self.map.bare(backbone) for backbone in self.backbones])
        self._row_of = [
            {column: np.full(len(offered), -1, dtype=np.int64) for column, offered in by_column.items()}
            for by_column in self._options
        ]
        self._used = 0
        self._translations.clear()
        self._row_costs = np.zeros((1024, len(AXES)), dtype=np.int64)
        self._row_features = np.zeros((1024, len(self.map.names)), dtype=np.float64)

    def _rows(self, codes: Codes) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """For each backbone in `codes`: which of them have it, and (those, its units) rows of the tables."""
        if self._used > REMEMBERED_AT_MOST:
            self._forget()
        for number in np.unique(codes[:, 0]):
            part = np.flatnonzero(codes[:, 0] == number)
            columns = list(self._options[number])
            rows = np.empty((len(part), len(columns)), dtype=np.int64)
            for place, column in enumerate(columns):
                table = self._row_of[number][column]
                asked = codes[part, column]
                for index in np.unique(asked[table[asked] < 0]):
                    table[index] = self._new_row(int(number), column, int(index))
                rows[:, place] = table[asked]
            yield part, rows

    def _new_row(self, number: int, column: int, index: int) -> int:
        if self._used == len(self._row_costs):
            self._row_costs = np.concatenate([self._row_costs, np.zeros_like(self._row_costs)])
            self._row_features = np.concatenate([self._row_features, np.zeros_like(self._row_features)])
        row, self._used = self._used, self._used + 1
        backbone, unit, option = self.backbones[number], self.space.units[column - 1], self._options[number][column][index]
        sites = self.space.sites_of(backbone, unit)
        self._row_costs[row] = self._whole(self.space.with_options(backbone, {unit: option})) - self._bare_costs[number]
        features = np.zeros(len(self.map.names))
        for site, spec in zip(sites, option, strict=True):
            if spec is not None:
                self.map.add_site(features, backbone, site, spec)
        self._row_features[row] = features
        return row

    def _whole(self, architecture: Architecture) -> npt.NDArray[np.int64]:
        cost = self._cost(architecture)
        return np.array([cost.macs, cost.params], dtype=np.int64)


def _kinds_of(offered: tuple[UnitOption, ...]) -> dict[str, Codes]:
    """Which options of a unit are of each kind; `none` where nothing is placed."""
    groups: dict[str, list[int]] = {}
    for index, option in enumerate(offered):
        groups.setdefault(next((spec.kind for spec in option if spec is not None), "none"), []).append(index)
    return {kind: np.array(indices, dtype=np.int32) for kind, indices in groups.items()}
