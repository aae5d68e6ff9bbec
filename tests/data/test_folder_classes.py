"""Which folder is the class, where folders lie inside folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbam_search.data.folder_classes import class_folders
from cbam_search.data.split_names import looks_like_splits, split_meaning
from cbam_search.errors import DataError

ROOT = Path("/data")


def classes(*names: str, wanted=None, split: str = "") -> list[str]:
    folder = ROOT / split
    labels, _ = class_folders({folder: [folder / name for name in names]}, ROOT, wanted)
    return labels[folder]


def test_the_only_folder_is_the_class() -> None:
    assert classes("cat/1.png", "dog/1.png") == ["cat", "dog"]
    assert classes("cat/1.png", "dog/1.png", split="train") == ["cat", "dog"]


def test_folders_that_hold_everything_are_no_class() -> None:
    labels, notes = class_folders({ROOT: [ROOT / "a/photos/cat/1.png", ROOT / "a/photos/dog/1.png"]}, ROOT, None)
    assert labels[ROOT] == ["cat", "dog"]
    assert notes == ["Classes are the folders in a/photos."]


def test_what_lies_deeper_in_a_folder_of_images_belongs_to_it() -> None:
    paths = [ROOT / name for name in ("cat/1.png", "cat/2019/2.png", "dog/1.png", "dog/2019/a/2.png")]
    labels, notes = class_folders({ROOT: paths}, ROOT, None)
    assert labels[ROOT] == ["cat", "cat", "dog", "dog"]
    assert notes == ["2 images in folders inside class folders (such as cat/2019) belong to these classes."]


def test_a_class_of_one_split_is_no_wrapping_folder_in_another() -> None:
    train, validation = ROOT / "train", ROOT / "val"
    images = {train: [train / "cat/1.png", train / "dog/1.png"], validation: [validation / "cat/2019/1.png"]}
    assert class_folders(images, ROOT, None)[0][validation] == ["cat"]


@pytest.mark.parametrize("names", [("cat/2019/1.png", "dog/2019/1.png"), ("animals/cat/1.png", "cars/bus/1.png")])
def test_two_readings_are_refused_until_one_is_chosen(names) -> None:
    with pytest.raises(DataError, match=r"dataset\.class_folder to `first`"):
        classes(*names)
    assert classes(*names, wanted="first") == [name.split("/")[0] for name in names]
    assert classes(*names, wanted="last") == [name.split("/")[1] for name in names]


def test_the_refusal_names_the_classes_of_both_readings_and_the_folder_to_start_from() -> None:
    with pytest.raises(DataError) as refused:
        classes("photos/cat/2019/1.png", "photos/dog/2020/1.png")
    assert "dataset.path to /data/photos, and dataset.class_folder to `first` (classes cat, dog)" in str(refused.value)
    assert "`last` (classes 2019, 2020)" in str(refused.value)


@pytest.mark.parametrize(
    "names",
    [
        ("training_set/cat/1.png", "training_set/dog/1.png", "test_set/cat/1.png"),
        ("photos/train/cat/1.png", "photos/val/cat/1.png", "photos/train/dog/1.png"),
        ("cat/train/1.png", "cat/val/1.png", "dog/train/1.png"),
        ("TrainImages/1.png", "TestImages/1.png"),
    ],
)
def test_folders_that_look_like_splits_are_no_classes(names) -> None:
    with pytest.raises(DataError, match=r"look like splits\. Name them train, validation and test"):
        classes(*names)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("seg_train", "train"),
        ("TestSet", "test"),
        ("Training", "train"),
        ("entrenamiento", "train"),
        ("Prueba", "test"),
        ("eval2", "validation"),
        ("训练", "train"),
        ("strain", None),
        ("invalid", None),
        ("contest", None),
        ("train_test", None),
    ],
)
def test_what_a_name_says_of_splits(name, meaning) -> None:
    assert split_meaning(name) == meaning


def test_classes_may_have_a_split_in_their_name() -> None:
    assert not looks_like_splits(["positive_test", "negative_test"])
    assert not looks_like_splits(["train", "bus", "test"])
    assert looks_like_splits(["train", "test"])
