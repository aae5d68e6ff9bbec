"""Which rows of the source make up train, validation and test, decided from labels and groups alone.

The source's own validation and test splits are used; what it lacks is carved from its training split. A test split without a
single label does not count as one. Images without a label are left out. `limit` shrinks every split in proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbam_search.data.config import DatasetConfig
from cbam_search.data.labels import MISSING, encode_labels
from cbam_search.data.source import IntArray, Item, Source, SourceSplit
from cbam_search.data.splits import apportion, carve, subsample
from cbam_search.data.wording import listed
from cbam_search.errors import DataError
from cbam_search.safe_text import printable


@dataclass(frozen=True)
class PlannedSplit:
    """rows: (N,) ascending rows of `source`. labels: (N,) dense classes."""

    source: SourceSplit
    rows: IntArray
    labels: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def items(self) -> Iterator[Item | None]:
        """The images in order; raises DataError where the rest cannot be read."""
        return self.source.read(self.rows)

    def name(self, place: int, path: Path | None = None) -> str:
        """Where a reader finds the image at `place`: its path, or its file and row, and then `path` where it is kept apart."""
        shown = [] if self.source.name is None else [self.source.name(int(self.rows[place]))]
        if path is not None:
            shown.append(str(path))
        return printable(": ".join(shown) or f"image {self.rows[place]}", limit=1000)

    def take(self, places: IntArray) -> PlannedSplit:
        return PlannedSplit(self.source, self.rows[places], self.labels[places])


@dataclass(frozen=True)
class SplitPlan:
    """splits: "train", "validation" and, where there is one, "test"."""

    splits: Mapping[str, PlannedSplit]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def plan_splits(source: Source, config: DatasetConfig, seed: int) -> SplitPlan:
    """Decide the rows of every split. Raises DataError for unusable labels and for a split that would be empty."""
    labels = {name: split.labels for name, split in source.splits.items()}
    encoded = encode_labels(labels, source.label_names, lambda name, row: _place(name, source.splits[name], row))
    notes = [*source.notes, *encoded.notes]
    splits: dict[str, PlannedSplit] = {}
    for name, split in source.splits.items():
        rows = np.flatnonzero(encoded.labels[name] != MISSING).astype(np.int64)
        without = len(split) - len(rows)
        if not len(rows):
            notes.append(f"The source's {name} split has no labels and is left unused.")
            continue
        if without:
            notes.append(f"{without:,} of {len(split):,} images of the source's {name} split have no label and were left out.")
        splits[name] = PlannedSplit(split, rows, encoded.labels[name][rows])
    if "train" not in splits:
        raise DataError("The training split has no labels.")
    notes += _shared_groups(splits)
    splits, carved = _carve_missing(splits, config, seed, encoded.class_names)
    splits = _limited(splits, config.limit, seed)
    empty = [name for name in ("train", "validation") if not len(splits[name])]
    if empty:
        raise DataError(
            f"The {empty[0]} split would be empty. Give more images (several a class, and several groups where there is a "
            "group column), a larger validation_fraction, or a larger limit."
        )
    unseen = np.setdiff1d(np.arange(len(encoded.class_names)), splits["train"].labels)
    if len(unseen):
        have = "class has" if len(unseen) == 1 else "classes have"
        shown = listed([encoded.class_names[label] for label in unseen])
        notes.append(f"{len(unseen):,} {have} no training image and cannot be learnt ({shown}).")
    return SplitPlan(splits, encoded.class_names, (*notes, *carved))


def _place(name: str, split: SourceSplit, row: int) -> str:
    return printable(f"{name} row {row}" if split.name is None else split.name(row), limit=1000)


def _carve_missing(
    splits: dict[str, PlannedSplit], config: DatasetConfig, seed: int, class_names: tuple[str, ...]
) -> tuple[dict[str, PlannedSplit], list[str]]:
    fractions = {
        "validation": 0.0 if "validation" in splits else config.validation_fraction,
        "test": 0.0 if "test" in splits else config.test_fraction,
    }
    missing = [name for name, fraction in fractions.items() if fraction]
    if not missing:
        return splits, []
    pool = splits["train"]
    groups = _group_numbers(pool)
    parts = carve(pool.labels, groups, **fractions, seed=seed)
    carved = {name: pool.take(part) for name, part in zip(("train", "validation", "test"), parts, strict=True)}
    how = "stratified, seeded" if groups is None else "stratified, seeded, groups kept together"
    notes = [f"{' and '.join(missing).capitalize()} carved from the source's training split ({how})."]
    single = [class_names[label] for label in np.flatnonzero(np.bincount(pool.labels) == 1)]
    if single and groups is None:
        have = "class has" if len(single) == 1 else "classes have"
        notes.append(f"{len(single):,} {have} a single image, which stays in the training split ({listed(single)}).")
    return {"train": carved["train"], **{name: carved[name] for name in missing}, **_without_train(splits)}, notes


def _without_train(splits: Mapping[str, PlannedSplit]) -> dict[str, PlannedSplit]:
    return {name: split for name, split in splits.items() if name != "train"}


def _limited(splits: dict[str, PlannedSplit], limit: int | None, seed: int) -> dict[str, PlannedSplit]:
    sizes = np.array([len(split) for split in splits.values()])
    if limit is None or limit >= sizes.sum():
        return splits
    counts = apportion(sizes, limit).tolist()
    return {
        name: split.take(subsample(split.labels, count, seed))
        for (name, split), count in zip(splits.items(), counts, strict=True)
    }


def _group_numbers(split: PlannedSplit) -> IntArray | None:
    """Groups as numbers; a missing group is a group of its own."""
    if split.source.groups is None:
        return None
    values = split.source.groups[split.rows]
    _, numbers = np.unique(values.astype(str), return_inverse=True)
    alone = _is_missing(values)
    return np.where(alone, numbers.max() + 1 + np.arange(len(values)), numbers).astype(np.int64)


def _is_missing(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.array([value is None or value == "" or value != value for value in values.tolist()], dtype=bool)


def _shared_groups(splits: Mapping[str, PlannedSplit]) -> list[str]:
    train = splits["train"].source.groups
    notes = []
    for name, split in _without_train(splits).items():
        if train is not None and split.source.groups is not None:
            held = split.source.groups[~_is_missing(split.source.groups)]
            shared = len(np.intersect1d(train.astype(str), held.astype(str)))
            if shared:
                notes.append(f"{shared} groups are in both the training and the {name} split of the source.")
    return notes
