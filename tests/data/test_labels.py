from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from cbam_search.data.labels import encode_labels
from cbam_search.errors import DataError


def test_gaps_are_closed_and_names_follow() -> None:
    encoded = encode_labels({"train": np.array([5, 0, 2, 5]), "test": np.array([2])}, ("a", "b", "c", "d", "e", "f"))
    assert encoded.labels["train"].tolist() == [2, 0, 1, 2]
    assert encoded.labels["test"].tolist() == [1]
    assert encoded.class_names == ("a", "c", "f")
    assert encoded.notes == ("3 of 6 labels have no image (b, d, e): the others were renumbered without gaps.",)


def test_gaps_without_names_keep_the_original_label_as_name() -> None:
    encoded = encode_labels({"train": np.array([10, 2, 0])}, None)
    assert encoded.class_names == ("0", "2", "10")
    assert encoded.labels["train"].tolist() == [2, 1, 0]
    assert "8 of 11 labels" in encoded.notes[0]


def test_words_become_classes_in_alphabetical_order() -> None:
    encoded = encode_labels({"train": np.array(["dog", "", "cat", None], dtype=object)}, None)
    assert encoded.class_names == ("cat", "dog")
    assert encoded.labels["train"].tolist() == [1, -1, 0, -1]
    assert encoded.notes == ()


def test_negative_and_nan_labels_are_missing() -> None:
    encoded = encode_labels({"train": np.array([0, -1, 1]), "test": np.array([np.nan, 1.0])}, None)
    assert encoded.labels["train"].tolist() == [0, -1, 1]
    assert encoded.labels["test"].tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([3, 3, 3], None, "only class '3'"),
        ([-1, -1], None, "no label at all"),
        ([0.5, 1.0], None, "0.5"),
        ([0, 1, 2], ("a", "b"), "Label 2 has no name"),
        (["cat", 1], None, "Some labels are words"),
        ([[0], [1]], None, r"\[0\]"),
        ([1.0, float("inf")], None, "inf"),
        (["cat", " \t"], None, "train row 1: .*blanks alone"),
        ([date(2020, 1, 2)], None, "2020-01-02"),
        ([b"cat"], None, "b'cat'"),
    ],
)
def test_refuses_labels_that_are_no_classes(labels, names, message) -> None:
    with pytest.raises(DataError, match=message):
        encode_labels({"train": np.array(labels, dtype=object if isinstance(labels[0], str | bytes) else None)}, names)


def test_a_label_that_is_no_class_is_named_by_its_place() -> None:
    raw = {"train": np.array([0, 1]), "test": np.array([1, 0.5])}
    with pytest.raises(DataError, match=r"^test of 1: its label is 0\.5"):
        encode_labels(raw, None, lambda split, row: f"{split} of {row}")


def test_whole_decimals_are_numbers() -> None:
    raw = np.array([Decimal(1), Decimal("0.00"), None], dtype=object)
    assert encode_labels({"train": raw}, None).labels["train"].tolist() == [1, 0, -1]
