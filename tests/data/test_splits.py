from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbam_search.data.splits import apportion, carve, subsample

labels_of_few_classes = st.lists(st.integers(0, 6), min_size=4, max_size=120).map(
    lambda found: np.unique(found, return_inverse=True)[1]
)
fractions = st.floats(0.02, 0.33)
seeds = st.integers(0, 2**31)


@given(labels=labels_of_few_classes, validation=fractions, test=st.just(0.0) | fractions, seed=seeds)
def test_carved_rows_are_disjoint_complete_and_stratified(labels, validation, test, seed) -> None:
    parts = carve(labels, None, validation=validation, test=test, seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert all((np.diff(part) > 0).all() for part in parts)
    sizes = np.bincount(labels)
    for part, fraction in zip(parts[1:], (validation, test), strict=True):
        count = max(1, round(fraction * len(labels))) if fraction else 0
        exact = sizes * count / len(labels)
        assert (np.abs(np.bincount(labels[part], minlength=len(sizes)) - exact) <= 1).all()
    assert (np.bincount(labels[parts[0]], minlength=len(sizes)) >= 1).all()


@given(labels=labels_of_few_classes, seed=seeds)
def test_the_same_seed_gives_the_same_rows(labels, seed) -> None:
    first, again = (carve(labels, None, validation=0.2, test=0.1, seed=seed) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_rows_of_a_seed_are_the_same_on_every_machine() -> None:
    train, validation, test = carve(np.arange(30) % 3, None, validation=0.1, test=0.1, seed=7)
    assert (validation.tolist(), test.tolist()) == ([1, 8, 15], [17, 22, 27])
    assert len(train) == 24


def test_another_seed_gives_other_rows() -> None:
    labels = np.arange(100) % 4
    assert not np.array_equal(*(carve(labels, None, validation=0.1, test=0, seed=seed)[1] for seed in (0, 1)))


@settings(max_examples=40, deadline=None)  # the first example imports scikit-learn
@given(
    groups=st.lists(st.integers(0, 11), min_size=30, max_size=100)
    .map(np.array)
    .filter(lambda found: len(np.unique(found)) >= 3),
    seed=st.integers(0, 1000),
)
def test_groups_stay_together_and_every_split_has_some(groups, seed) -> None:
    labels = np.random.default_rng(seed).integers(0, 2, len(groups))
    parts = carve(labels, groups, validation=0.2, test=0.2, seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    owners = [set(groups[part].tolist()) for part in parts]
    assert all(owners)
    assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])


def test_one_group_or_one_image_a_class_leaves_nothing_to_hold_out() -> None:
    for labels, groups in ((np.arange(5), np.arange(5)), (np.arange(6) % 2, np.zeros(6, dtype=np.int64))):
        train, validation, test = carve(labels, groups, validation=0.2, test=0.2, seed=0)
        assert train.tolist() == np.arange(len(labels)).tolist()
        assert len(validation) == len(test) == 0


def test_grouped_splits_come_near_the_fractions_and_the_class_shares() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 200, 2000)
    labels = (generator.random(2000) < 0.3).astype(np.int64)
    _, validation, test = carve(labels, groups, validation=0.15, test=0.1, seed=0)
    assert len(validation) == pytest.approx(300, abs=30)
    assert len(test) == pytest.approx(200, abs=30)
    assert labels[validation].mean() == pytest.approx(labels.mean(), abs=0.05)


@pytest.mark.parametrize("fraction", [0.02, 0.04, 0.3])
def test_a_small_share_of_groups_is_small(fraction) -> None:
    groups = np.random.default_rng(0).integers(0, 500, 5000)
    _, validation, _ = carve(np.arange(5000) % 3, groups, validation=fraction, test=0, seed=0)
    assert len(validation) / 5000 == pytest.approx(fraction, rel=0.2)


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=8).map(np.array), total=st.integers(0, 300))
def test_apportion_adds_up_and_never_exceeds_a_size(sizes, total) -> None:
    shares = apportion(sizes, total)
    assert shares.sum() == min(total, sizes.sum())
    assert (shares <= sizes).all()
    assert (shares >= 0).all()


@given(labels=labels_of_few_classes, seed=seeds)
def test_subsample_keeps_the_class_shares(labels, seed) -> None:
    rows = subsample(labels, len(labels) // 2, seed)
    assert len(np.unique(rows)) == len(labels) // 2
    sizes = np.bincount(labels)
    kept = np.bincount(labels[rows], minlength=len(sizes))
    assert (np.abs(kept - sizes * (len(labels) // 2) / len(labels)) <= 1).all()
