"""The architectures of a space as rows of whole numbers, so that thousands of candidates are made in milliseconds.

A code is a row of whole numbers: the backbone, then for every unit of the space which of its options it takes, or -1 where the
backbone lacks the unit. Options are canonical and without repeats (see `Space.options`), so two codes are equal exactly where
the architectures are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from cbam_search.architecture import AnyBackbone, Architecture
from cbam_search.space.space import Choice, Space, UnitOption

Codes = npt.NDArray[np.int32]
"""(n, 1 + units)."""
TRANSLATIONS_AT_MOST = 50_000
"""So many are remembered; then all are forgotten. Bounds memory to about 10 MB."""


class CodedSpace:
    """Codes of one space. Backbones go by their number in `backbones`, units by their column of a code."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.backbones = space.backbones
        self._numbers: dict[AnyBackbone, int] = {backbone: number for number, backbone in enumerate(self.backbones)}
        self._columns = {unit: column for column, unit in enumerate(space.units, start=1)}
        self._options = [self._by_column(space.options(backbone)) for backbone in self.backbones]
        self._indices = [
            {column: {option: index for index, option in enumerate(offered)} for column, offered in by_column.items()}
            for by_column in self._options
        ]
        self.width = 1 + len(self._columns)
        self._kinds = [{column: _kinds_of(offered) for column, offered in entry.items()} for entry in self._options]
        self._translations: dict[tuple[int, int, int, int, int], int] = {}

    def _by_column(self, options: Mapping[str, tuple[UnitOption, ...]]) -> dict[int, tuple[UnitOption, ...]]:
        return {self._columns[unit]: offered for unit, offered in options.items()}

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

    def options(self, number: int) -> Mapping[int, tuple[UnitOption, ...]]:
        """Of each unit of this backbone, by column: the options that it has."""
        return self._options[number]

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

    def translated(self, number: int, column: int, index: int, to: int, to_column: int) -> int:
        """Which option of another unit is given by the same settings."""
        key = (number, column, index, to, to_column)
        if key not in self._translations:
            if len(self._translations) >= TRANSLATIONS_AT_MOST:
                self._translations.clear()
            here = self.space.sites_of(self.backbones[number], self.space.units[column - 1])
            there = self.space.sites_of(self.backbones[to], self.space.units[to_column - 1])
            carried = self.space.carried(self._options[number][column][index], here, there)
            self._translations[key] = self._indices[to][to_column][carried]
        return self._translations[key]


def _kinds_of(offered: tuple[UnitOption, ...]) -> dict[str, Codes]:
    """Which options of a unit are of each kind; `none` where nothing is placed."""
    groups: dict[str, list[int]] = {}
    for index, option in enumerate(offered):
        groups.setdefault(next((spec.kind for spec in option if spec is not None), "none"), []).append(index)
    return {kind: np.array(indices, dtype=np.int32) for kind, indices in groups.items()}
