"""Class names that look alike."""

from __future__ import annotations

import unicodedata

import pytest

from cbam_search.data.class_names import check_class_names
from cbam_search.errors import DataError

CAFE = "caf\u00e9"


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (unicodedata.normalize("NFD", CAFE), "Unicode form"),
        (CAFE + " ", "in blanks"),
        ("\t" + CAFE, "in blanks"),
        (CAFE + "\u200b", "in blanks"),
        (CAFE + "\u00a0", "in blanks"),
    ],
)
def test_names_that_nobody_can_tell_apart_are_refused(other, what) -> None:
    with pytest.raises(DataError, match=what) as refused:
        list(check_class_names([CAFE, other, "dog"]))
    assert ascii(other) in str(refused.value)


def test_names_that_may_be_one_are_said() -> None:
    assert list(check_class_names(["a", "A", "b"])) == [
        "Classes that differ only in case or the form of letters: A and a. Name them alike if they are one."
    ]
    (note,) = check_class_names(["1", "1.0", "01", "2"])
    assert note.startswith("Classes that differ only as numbers are written: 01 and 1 and 1.0.")
    assert list(check_class_names(["cat", "cats", "1", "2", "nan"])) == []
