"""Which rows go to train, validation and test: stratified, seeded, with groups kept together."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np

from cbam_search.data.source import IntArray


def apportion(sizes: IntArray, total: int) -> IntArray:
    """Share `total` out in proportion to `sizes` by largest remainders.

    sizes: (K,). Returns (K,) int64 that add up to min(total, sizes.sum()), each within one of its exact share.
    """
    if total >= sizes.sum():
        return sizes.copy()
    exact = sizes * total / max(sizes.sum(), 1)
    shares: IntArray = np.floor(exact).astype(np.int64)
    largest = np.argsort(-(exact - shares), kind="stable")
    shares[largest[: total - shares.sum()]] += 1
    return shares


def carve(
    labels: IntArray, groups: IntArray | None, *, validation: float, test: float, seed: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Split rows into (train, validation, test), each ascending. Fractions are of all rows; 0 gives an empty split.

    labels: (N,) dense classes. groups: (N,) or None; rows of one group never part.
    Without groups each class's share of a held-out split is within one image of exact (fractions that add up to 2/3 at
    most), except that every class keeps an image in train: a class of a single image is never held out.
    With groups the shares are as near as whole groups allow (scikit-learn's StratifiedGroupKFold).
    The same labels, groups, fractions and seed give the same rows on every machine.
    """
    if groups is None:
        return _carve_rows(labels, validation, test, seed)
    everything = np.arange(len(labels), dtype=np.int64)
    rest, test_rows = _hold_groups(everything, labels, groups, test, seed)
    train, validation_rows = _hold_groups(rest, labels, groups, validation / (1 - test), seed + 1)
    return train, validation_rows, test_rows


def subsample(labels: IntArray, count: int, seed: int) -> IntArray:
    """`count` rows, ascending, each class in proportion. labels: (N,) dense classes."""
    generator = np.random.default_rng(seed)
    takes = apportion(np.bincount(labels), count)
    kept = [generator.permutation(np.flatnonzero(labels == label))[:take] for label, take in enumerate(takes)]
    return np.sort(np.concatenate(kept))


def _carve_rows(labels: IntArray, validation: float, test: float, seed: int) -> tuple[IntArray, IntArray, IntArray]:
    generator = np.random.default_rng(seed)
    sizes = np.bincount(labels)
    in_test = np.minimum(apportion(sizes, _count(test, len(labels))), np.maximum(sizes - 1, 0))
    in_validation = np.minimum(apportion(sizes, _count(validation, len(labels))), np.maximum(sizes - in_test - 1, 0))
    parts: tuple[list[IntArray], list[IntArray], list[IntArray]] = ([], [], [])
    for label, (n_test, n_validation) in enumerate(zip(in_test, in_validation, strict=True)):
        rows = generator.permutation(np.flatnonzero(labels == label))
        for part, chosen in zip(parts, np.split(rows, [-n_test - n_validation or len(rows), len(rows) - n_test]), strict=True):
            part.append(chosen)
    train, validation_rows, test_rows = (np.sort(np.concatenate(part)) for part in parts)
    return train, validation_rows, test_rows


def _count(fraction: float, total: int) -> int:
    return max(1, round(fraction * total)) if fraction else 0


def _hold_groups(rows: IntArray, labels: IntArray, groups: IntArray, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Part `rows` into (kept, held), holding whole folds: 0.15 is 3 of 20, 0.02 is 1 of 50; fewer where there are fewer groups.

    No more than 100 folds, whose making would take long.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if not fraction or not len(rows):
        return rows, rows[:0]
    share = Fraction(fraction).limit_denominator(20) if fraction >= 0.05 else Fraction(1, min(100, round(1 / fraction)))
    most_folds = min(len(np.unique(groups[rows])), int(np.bincount(labels[rows]).max()))
    if most_folds < 2:
        return rows, rows[:0]
    folds = max(2, min(share.denominator, most_folds))
    held_folds = min(max(1, round(fraction * folds)), folds - 1)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer images than folds is no mistake here
        held = [fold for _, fold in splitter.split(rows, labels[rows], groups[rows])][:held_folds]
    is_held = np.zeros(len(rows), dtype=bool)
    is_held[np.concatenate(held)] = True
    return rows[~is_held], rows[is_held]
