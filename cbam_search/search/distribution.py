"""Distributions of sums of independent choices, without sampling.

Sums of few choices are listed exactly. Larger ones are put on a grid of whole numbers and convolved by FFT: how far a value can
then lie from its true one is worked out, not estimated, and carried along as `off_by`. Shares are floats, to about 1e-12.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
from scipy import fft

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

LISTED = 2**19
"""Two distributions are added exactly where they have at most so many pairs of values."""
CELLS = {1: 2**17, 2: 2**11}
"""Cells of the grid along each axis, by the number of axes."""
SHARE_ERROR = 1e-12
"""By what a share may be wrong through rounding."""


@dataclass(frozen=True)
class Distribution:
    """What share of the whole has which values.

    values: (n, axes), whole numbers.
    shares: (n,), above 0, adding up to 1.
    off_by: (axes,), how far a value can lie from the true one; 0 where values are exact.
    """

    values: IntArray
    shares: FloatArray
    off_by: FloatArray

    @classmethod
    def of(cls, values: IntArray, shares: FloatArray | None = None) -> Distribution:
        """An exact distribution. values: (n, axes); equal rows become one. shares: (n,); by default all rows have the same."""
        shares = np.full(len(values), 1 / len(values)) if shares is None else shares
        order = np.lexsort(values.T)
        values = values[order]
        starts = np.flatnonzero(np.r_[True, np.any(values[1:] != values[:-1], axis=1)])
        return cls(values[starts], np.add.reduceat(shares[order], starts), np.zeros(values.shape[1]))

    def __len__(self) -> int:
        return len(self.shares)

    @property
    def exact(self) -> bool:
        return not self.off_by.any()

    def axis(self, number: int) -> Distribution:
        """One axis alone, of an exact distribution."""
        return Distribution.of(self.values[:, [number]], self.shares)

    def quantile(self, share: float) -> int:
        """The smallest value of the only axis that at least `share` of the whole does not exceed."""
        order = np.argsort(self.values[:, 0], kind="stable")
        reached = np.searchsorted(np.cumsum(self.shares[order]), share - SHARE_ERROR)
        return int(self.values[order[min(int(reached), len(order) - 1)], 0])

    def share_within(self, limits: Sequence[int]) -> tuple[float, float]:
        """The least and the most that the share with no value above its limit can be; equal where values are exact."""
        within = [np.all(self.values + sign * self.off_by <= np.array(limits), axis=1) for sign in (1, -1)]
        least, most = (min(1.0, float(self.shares[chosen].sum())) for chosen in within)
        return least, most


def mixture(parts: Iterable[tuple[Distribution, IntArray, float]]) -> Distribution:
    """The distribution of a whole made of parts: (distribution, what is added to its values, the part's share of the whole)."""
    parts = list(parts)
    return Distribution(
        np.concatenate([part.values + shift for part, shift, _ in parts]),
        np.concatenate([part.shares * weight for part, _, weight in parts]),
        np.max([part.off_by for part, _, _ in parts], axis=0),
    )


def distribution_of_sum(summands: Sequence[tuple[Distribution, int]]) -> Distribution:
    """Of the sum of independent exact summands, each with the number of times that it is added."""
    folded = _folded(summands)
    return folded[0][0] if len(folded) == 1 and folded[0][1] == 1 else _on_grid(folded)


def _folded(summands: Sequence[tuple[Distribution, int]]) -> list[tuple[Distribution, int]]:
    """Fewer summands with the same sum."""
    single: list[Distribution] = []
    repeated: list[tuple[Distribution, int]] = []
    waiting = list(summands)
    while waiting:
        summand, times = waiting.pop()
        folded, each = summand, 1
        while 2 * each <= times and len(folded) ** 2 <= LISTED:
            folded, each = _added(folded, folded), 2 * each
        if times // each == 1:
            single.append(folded)
        else:
            repeated.append((folded, times // each))
        if times % each:
            waiting.append((summand, times % each))
    single.sort(key=len)
    while len(single) > 1 and len(single[0]) * len(single[1]) <= LISTED:
        single = sorted([_added(single[0], single[1]), *single[2:]], key=len)
    return [(summand, 1) for summand in single] + repeated


def _added(left: Distribution, right: Distribution) -> Distribution:
    axes = left.values.shape[1]
    values = (left.values[:, None] + right.values[None]).reshape(-1, axes)
    return Distribution.of(values, np.outer(left.shares, right.shares).ravel())


def _on_grid(summands: Sequence[tuple[Distribution, int]]) -> Distribution:
    """Round every summand's values to a grid that starts at its smallest, and convolve."""
    times = np.array([repeats for _, repeats in summands])
    lowest = np.array([summand.values.min(axis=0) for summand, _ in summands])
    offsets = [summand.values - low for (summand, _), low in zip(summands, lowest, strict=True)]
    spans = np.array([offset.max(axis=0) for offset in offsets])
    axes = lowest.shape[1]
    units = np.maximum(1, reduce(np.gcd, [np.gcd.reduce(offset, axis=0) for offset in offsets]))
    steps = units * np.maximum(1, -(-(times @ spans) // (units * CELLS[axes])))
    cells = [np.rint(offset / steps).astype(np.int64) for offset in offsets]
    rounding = np.array([np.abs(cell * steps - offset).max(axis=0) for cell, offset in zip(cells, offsets, strict=True)])
    shape = tuple(
        fft.next_fast_len(int(size), real=True) for size in times @ np.array([cell.max(axis=0) for cell in cells]) + 1
    )
    transform = np.ones(1)
    for (summand, repeats), cell in zip(summands, cells, strict=True):
        histogram = np.bincount(np.ravel_multi_index(tuple(cell.T), shape), summand.shares, int(np.prod(shape)))
        transform = transform * fft.rfftn(histogram.reshape(shape)) ** repeats
    shares = fft.irfftn(transform, shape)
    held = shares > 0
    values = np.argwhere(held) * steps + times @ lowest
    return Distribution(values, shares[held], (times @ rounding).astype(np.float64))
