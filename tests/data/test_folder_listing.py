"""What is passed over in a folder, and folders that cannot be read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from permissions import unprivileged

from cbam_search.data.config import DatasetConfig
from cbam_search.data.folder_listing import list_folder
from cbam_search.data.load import load
from cbam_search.errors import DataError

LOAD = """
import sys
from cbam_search.data.config import DatasetConfig
from cbam_search.data.load import load
from cbam_search.errors import DataError
try:
    load(DatasetConfig(source="image_folder", path=sys.argv[1]), seed=0)
except DataError as error:
    print("refused:", error)
"""


@pytest.fixture
def photos(tmp_path, png) -> Path:
    for place, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number in range(10):
            (tmp_path / name / f"{number}.png").write_bytes(png(100 * place + number))
    return tmp_path


def loaded(path: Path, **settings):
    return load(DatasetConfig(source="image_folder", path=str(path), **settings), seed=0)


@pytest.mark.parametrize("forbidden", ["dog", "metadata.csv"])
def test_what_may_not_be_read_is_named(photos, forbidden) -> None:
    if forbidden == "metadata.csv":
        (photos / forbidden).write_text("file_name,label\n")
    (photos / forbidden).chmod(0)
    try:
        command = [*unprivileged(), sys.executable, "-c", LOAD, str(photos)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        (photos / forbidden).chmod(0o755)
    assert said.startswith("refused:")
    assert f"Permission denied: {photos / forbidden}" in said


def test_files_passed_over_are_counted_by_suffix_with_an_example(photos) -> None:
    for name in ("cat/1.heic", "cat/2.HEIC", "dog/1.JPG.bak", "dog/a.npy", "README", "Thumbs.db", "dog/.hidden"):
        (photos / name).write_text("")
    (note,) = list_folder(photos, photos).notes()
    assert "2 .heic (cat/1.heic)" in note
    assert "1 .jpg.bak (dog/1.JPG.bak)" in note
    assert "1 .npy (dog/a.npy)" in note
    assert "1 without a suffix (README)" in note
    assert "Thumbs" not in note
    assert "hidden" not in note
    assert note in loaded(photos).notes


def test_nothing_is_said_of_a_clean_folder(photos) -> None:
    assert list(list_folder(photos, photos).notes()) == []
    assert len(loaded(photos).notes) == 3  # classes, carved splits, where images are held


def test_many_hidden_files_are_said(photos) -> None:
    for number in range(20):
        (photos / "cat" / f"._{number}.png").write_text("")
    assert list(list_folder(photos, photos).notes()) == ["Passed over, since they are no images: 20 hidden."]


def test_thumbnails_and_recycle_bins_are_no_classes(photos, png) -> None:
    for folder in ("__MACOSX/cat", "cat/@eaDir/1.png", "$RECYCLE.BIN"):
        (photos / folder).mkdir(parents=True)
        (photos / folder / "thumb.jpg").write_bytes(png(999))
    data = loaded(photos)
    assert data.class_names == ("cat", "dog")
    assert any("1 @eaDir folder (cat/@eaDir)" in note for note in data.notes)


def test_pipes_are_passed_over_and_not_waited_for(photos) -> None:
    os.mkfifo(photos / "cat" / "pipe.png")
    assert any("1 pipe or device (cat/pipe.png)" in note for note in loaded(photos).notes)


@pytest.mark.parametrize("target", ["/nowhere/bird", "bird"])
def test_a_class_folder_that_is_a_link_to_nothing_is_refused(photos, target) -> None:
    (photos / "bird").symlink_to(target)
    with pytest.raises(DataError, match=r"bird is a link to nothing"):
        loaded(photos)


def test_links_that_lead_out_are_said(photos, tmp_path_factory, png) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "1.png").write_bytes(png(999))
    (photos / "bird").symlink_to(elsewhere)
    assert any(f"(the first: bird, to {elsewhere.resolve()})" in note for note in loaded(photos).notes)


def test_empty_class_folders_and_images_beside_them_are_said(photos, png) -> None:
    (photos / "bird").mkdir()
    (photos / "fish").mkdir()
    (photos / "fish" / "1.heic").write_text("")
    (photos / "stray.png").write_bytes(png(999))
    notes = loaded(photos).notes
    assert "2 folders without an image are no class: bird, fish." in notes
    assert f"1 image has no label, lying in {photos} outside of the class folders (stray.png)." in notes


def test_images_beside_split_folders_are_said(photos, png) -> None:
    (photos / "train").mkdir()
    for name in ("cat", "dog"):
        (photos / name).rename(photos / "train" / name)
    (photos / "stray.png").write_bytes(png(999))
    assert "1 image outside of the split folders passed over (stray.png)." in loaded(photos).notes


def test_files_that_differ_in_their_suffix_alone_are_said(photos, png) -> None:
    (photos / "cat" / "1.jpg").write_bytes(png(999))
    assert any(note.startswith("1 image differs from another in the suffix alone") for note in loaded(photos).notes)


def test_names_are_printable_in_messages(photos) -> None:
    (photos / "cat").rename(photos / "cat\x1b[31m\n")
    (photos / "dog" / "a\udce9.txt").write_text("")
    notes = "\n".join(loaded(photos).notes[:-1])
    assert r"cat\x1b[31m\n" in notes
    assert r"dog/a\udce9.txt" in notes
    assert "\x1b" not in notes


def test_a_class_of_trains_is_no_training_split(photos, png) -> None:
    (photos / "dog").rename(photos / "train")
    assert loaded(photos).class_names == ("cat", "train")


def test_a_training_split_without_images_is_refused(photos) -> None:
    (photos / "train").mkdir()
    (photos / "train" / "cat").mkdir()
    (photos / "val").mkdir()
    for name in ("cat", "dog"):
        (photos / name).rename(photos / "val" / name)
    with pytest.raises(DataError, match=r"train, the training split, holds no image file"):
        loaded(photos)


def test_a_split_in_another_spelling_is_said(photos) -> None:
    for split in ("train", "eval"):
        (photos / split).mkdir()
        shutil.copytree(photos / "cat", photos / split / "cat")
        shutil.copytree(photos / "dog", photos / split / "dog")
    assert "The split eval looks like one for validation: named validation, it is used as such." in loaded(photos).notes


def test_a_folder_without_labels_says_how_to_give_them(tmp_path, png) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    with pytest.raises(DataError, match=r"there is no class folder\. .* dataset\.label_column: label"):
        loaded(tmp_path)


def test_an_archive_is_not_a_folder(tmp_path) -> None:
    (tmp_path / "photos.zip").write_text("")
    with pytest.raises(DataError, match=r"photos\.zip is a file, not a folder\. Unpack"):
        loaded(tmp_path / "photos.zip")
