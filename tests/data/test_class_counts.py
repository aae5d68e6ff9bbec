"""How many images each class has, and what of that looks wrong."""

from __future__ import annotations

import numpy as np
import pytest

from cbam_search.data.class_counts import class_notes, refuse_lost_classes
from cbam_search.errors import DataError


def labels(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def test_every_class_of_a_few_is_shown_with_its_counts() -> None:
    notes = class_notes(("cat", "dog"), {"train": labels(8, 1200), "validation": labels(2, 3), "test": labels(1, 3)})
    assert notes[0] == "2 classes (training / validation / test images): cat: 8 / 2 / 1; dog: 1,200 / 3 / 3."


def test_equal_classes_are_one_figure() -> None:
    notes = class_notes(("cat", "dog"), {"train": labels(8, 8), "validation": labels(2, 2)})
    assert notes == ("2 classes of 8 / 2 training / validation images each: cat, dog.",)


def test_of_many_classes_the_largest_and_the_smallest_are_shown() -> None:
    names = tuple(f"c{number}" for number in range(20))
    (note,) = class_notes(names, {"train": labels(*range(20, 0, -1)), "validation": labels(*range(20, 0, -1))})
    assert note.startswith(
        "20 classes (training / validation images): c0: 20 / 20; c1: 19 / 19; c2: 18 / 18; 14 more; c17: 3 / 3; "
    )


def test_a_class_that_is_nearly_everything_is_said() -> None:
    notes = class_notes(("cat", "dog"), {"train": labels(99, 1), "validation": labels(9, 1)})
    assert any(note.startswith("Class cat makes up 99.0 % of the training images") for note in notes)


def test_classes_that_validation_lacks_are_said() -> None:
    notes = class_notes(("cat", "dog", "bird"), {"train": labels(5, 5, 5), "validation": labels(1, 0, 1)})
    assert any("1 class has no validation image" in note and "(dog)" in note for note in notes)


@pytest.mark.parametrize("name", ["NaN", "none", "masks"])
def test_names_that_are_hardly_classes_are_said(name) -> None:
    notes = class_notes(("cat", name), {"train": labels(5, 5), "validation": labels(1, 1)})
    assert any(f"Class {name} looks like" in note for note in notes)


@pytest.mark.parametrize(
    ("names", "train", "validation", "message"),
    [
        (("cat", "dog"), (5, 0), (1, 1), "one class only, cat"),
        (("a", "b", "c", "d"), (5, 5, 0, 0), (0, 0, 1, 1), r"share no class \(a, b and c, d\)"),
        (("Dog", "cat", "dog"), (0, 5, 5), (1, 1, 0), "a class Dog that training lacks, and training has dog"),
    ],
)
def test_splits_of_different_classes_are_refused(names, train, validation, message) -> None:
    with pytest.raises(DataError, match=message):
        refuse_lost_classes(names, {"train": labels(*train), "validation": labels(*validation)})


def test_a_class_that_only_validation_has_is_no_error() -> None:
    refuse_lost_classes(("cat", "dog", "fish"), {"train": labels(5, 5), "validation": labels(1, 1, 1)})
