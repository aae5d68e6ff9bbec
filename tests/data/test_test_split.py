"""The test split as benchmarks read it: the rows that `load` only counts, none of them among the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cbam_search.data.config import DatasetConfig
from cbam_search.data.load import load
from cbam_search.data.test_split import load_test
from cbam_search.errors import DataError


def test_the_three_splits_are_all_the_digits() -> None:
    config = DatasetConfig(source="digits", validation_fraction=0.25, test_fraction=0.5)
    data = load(config, seed=3)
    test = load_test(config, data, seed=3)
    assert len(test.split) == data.test_count == 898
    assert test.split.images.shape[1:] == data.train.images.shape[1:]
    together = np.concatenate([data.train.images, data.validation.images, test.split.images])
    assert len(np.unique(together.reshape(len(together), -1), axis=0)) == len(together) == 1797
    labels = np.concatenate([data.train.labels, data.validation.labels, test.split.labels])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_fingerprint_is_that_of_images_and_labels() -> None:
    config = DatasetConfig(source="digits", limit=300)
    prints = []
    for seed in (0, 0, 1):
        data = load(config, seed=seed)
        prints.append(load_test(config, data, seed=seed).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_images_of_a_file_become_those_of_the_other_splits(cifar_file: Path) -> None:
    config = DatasetConfig(source="parquet", train=str(cifar_file), test_fraction=0.2, image_size=16)
    data = load(config, seed=0)
    test = load_test(config, data, seed=0)
    assert test.split.images.shape == (40, 3, 16, 16)
    assert test.split.images.flags.c_contiguous
    assert np.bincount(test.split.labels).tolist() == [4] * 10


def test_what_cannot_be_a_test_split_is_refused(png: Callable[..., bytes], write_parquet: Callable[..., str]) -> None:
    without = DatasetConfig(source="digits", test_fraction=0)
    with pytest.raises(DataError, match="no test split"):
        load_test(without, load(without, seed=0), seed=0)
    files = {
        "train": write_parquet([png(seed) for seed in range(20)], [0, 1] * 10, "train.parquet"),
        "test": write_parquet([png(seed, 9, 9) for seed in range(20, 30)], [0, 1] * 5, "test.parquet"),
    }
    sizes = DatasetConfig(source="parquet", **files)
    with pytest.raises(DataError, match="other sizes"):
        load_test(sizes, load(sizes, seed=0), seed=0)
    broken = write_parquet([b"broken", b"too"], [0, 1], "test.parquet")
    sizes = DatasetConfig(source="parquet", **files | {"test": broken})
    with pytest.raises(DataError, match="can be decoded"):
        load_test(sizes, load(sizes, seed=0), seed=0)
