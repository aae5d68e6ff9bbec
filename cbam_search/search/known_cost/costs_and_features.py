"""Costs and features of codes, thousands at once: both are sums over units.

What a unit's option adds is worked out when it is first met, and kept as a row of a table.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cbam_search.architecture import Architecture, published
from cbam_search.cost.cost import CostFunction
from cbam_search.search.known_cost.codes import CodedSpace, Codes
from cbam_search.search.known_cost.drawing import random_codes
from cbam_search.search.known_cost.features import FeatureMap, Matrix, Vector
from cbam_search.search.space_costs import AXES, SCALES

COSTS = AXES
"""Columns of costs: gflops, params."""
REMEMBERED_AT_MOST = 50_000
"""Options of units whose features are remembered; then all are forgotten. Bounds memory to about 100 MB."""
SAMPLED_FOR_SCALE = 512


class CostsAndFeatures:
    """Costs and standardised features of the architectures of one space, by their codes. cost: of any architecture."""

    def __init__(self, coded: CodedSpace, cost: CostFunction) -> None:
        self.coded = coded
        self._space = coded.space
        self._backbones = coded.backbones
        self._cost = cost
        self._bare_costs = np.array([self._whole(published(backbone, None)) for backbone in self._backbones])
        self.map = FeatureMap(coded.space)
        self._forget()
        self._standardise()

    def _standardise(self) -> None:
        """By random architectures of the space, always the same: features do not depend on what was observed."""
        sample = random_codes(self.coded, np.random.default_rng(0), SAMPLED_FOR_SCALE)
        costs = self.costs(sample)
        self.map.centre(costs[:, 0])
        raw = self._raw(sample, costs)
        self._mean, deviation = raw.mean(axis=0), raw.std(axis=0)
        self._scale = self.map.prior_scale / np.where(deviation > 1e-6, deviation, 1.0)

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
        self._bare_features = np.array([self.map.bare(backbone) for backbone in self._backbones])
        self._row_of = [
            {column: np.full(len(offered), -1, dtype=np.int64) for column, offered in by_column.items()}
            for by_column in map(self.coded.options, range(len(self._backbones)))
        ]
        self._used = 0
        self._row_costs = np.zeros((1024, len(AXES)), dtype=np.int64)
        self._row_features = np.zeros((1024, len(self.map.names)), dtype=np.float64)

    def _rows(self, codes: Codes) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """For each backbone in `codes`: which of them have it, and (those, its units) rows of the tables."""
        if self._used > REMEMBERED_AT_MOST:
            self._forget()
        for number in np.unique(codes[:, 0]):
            part = np.flatnonzero(codes[:, 0] == number)
            columns = list(self.coded.options(number))
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
        backbone, unit = self._backbones[number], self._space.units[column - 1]
        option = self.coded.options(number)[column][index]
        sites = self._space.sites_of(backbone, unit)
        self._row_costs[row] = self._whole(self._space.with_options(backbone, {unit: option})) - self._bare_costs[number]
        features = np.zeros(len(self.map.names))
        for site, spec in zip(sites, option, strict=True):
            if spec is not None:
                self.map.add_site(features, backbone, site, spec)
        self._row_features[row] = features
        return row

    def _whole(self, architecture: Architecture) -> npt.NDArray[np.int64]:
        cost = self._cost(architecture)
        return np.array([cost.macs, cost.params], dtype=np.int64)
