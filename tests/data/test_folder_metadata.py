"""Mistakes in a metadata.csv are named by file and row."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbam_search.data.folder_metadata import read_metadata
from cbam_search.errors import DataError

NAMES = ["a.png", "b.png", "c.png"]
ROWS = "a.png,cat\nb.png,dog\nc.png,cat\n"


def notes(folder: Path, text: str, names=NAMES) -> list[str]:
    (folder / "metadata.csv").write_text(text, encoding="utf-8")
    metadata = read_metadata(folder, ["kind"])
    assert metadata is not None
    return list(metadata.notes(names, ["kind"]))


def test_a_sound_table_says_nothing(tmp_path) -> None:
    assert notes(tmp_path, "file_name,kind\n" + ROWS) == []
    assert notes(tmp_path, "\ufefffile_name,kind\r\n" + ROWS.replace("\n", "\r\n")) == []
    assert notes(tmp_path, "kind,file_name,more\ncat,a.png,\ndog,b.png,\n\ncat,c.png,,,\n") == []
    assert notes(tmp_path, "file_name,kind\n" + ROWS + "a.png,cat\n") == []


def test_no_table_is_none(tmp_path) -> None:
    assert read_metadata(tmp_path, []) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name;kind\na.png;cat\n", r"metadata\.csv is separated by semicolons: save it with commas"),
        ("file_name\tkind\na.png\tcat\n", r"is separated by tabs"),
        ("path,kind\na.png,cat\n", r"has no column 'file_name'; its columns are: 'path', 'kind'"),
        ("file_name, kind\na.png,cat\n", r"has no column 'kind'; its columns are: 'file_name', ' kind'"),
        ("file_name,kind,kind\na.png,cat,dog\n", r"has 2 columns kind: name them apart"),
        ("file_name,kind\na.png,cat\nb.png\n", r"metadata\.csv, row 3 has 1 value, and there are 2 columns"),
        ("file_name,kind\na.png,cat, tabby\n", r"metadata\.csv, row 2 has 3 values.* needs quotes"),
        ("file_name,kind\n" + ROWS + "a.png,dog\n", r"metadata\.csv, row 5 gives a\.png dog, but row 2 gives it cat"),
        ('file_name,kind\na.png,cat\n"b.png,dog\n', r"metadata\.csv, row 3: this cannot be read as CSV"),
        ("", r"metadata\.csv has no row that names an image"),
        ("file_name,kind\n", r"metadata\.csv has no row that names an image"),
        (
            "file_name,kind\nx/a.png,cat\nx/b.png,dog\n",
            r"no row names an image of this folder \(the first, row 2, names x/a\.png",
        ),
        ("file_name,kind\n.\\a.png,cat\n", r"with / between folders"),
    ],
)
def test_what_is_surely_wrong_is_refused(tmp_path, text, message) -> None:
    with pytest.raises(DataError, match=message):
        notes(tmp_path, text)


def test_another_encoding_is_named_by_its_row(tmp_path) -> None:
    (tmp_path / "metadata.csv").write_bytes(b"file_name,kind\n" + b"a.png,cat\n" * 5000 + b"b.png,caf\xe9\n")
    with pytest.raises(DataError, match=r"metadata\.csv, row 5002: this is not UTF-8"):
        read_metadata(tmp_path, ["kind"])


def test_rows_without_an_image_and_images_without_a_row_are_said(tmp_path) -> None:
    stray, unlisted = notes(tmp_path, "file_name,kind\na.png,cat\nx.png,cat\ny.png,cat\nb.png,dog\n")
    assert stray.startswith("2 rows of ")
    assert stray.endswith("name no image (the first, row 3, names x.png).")
    assert unlisted.startswith("1 image has no row in ")
    assert unlisted.endswith("(c.png).")


def test_empty_values_are_said(tmp_path) -> None:
    (note,) = notes(tmp_path, "file_name,kind\na.png,cat\nb.png,\nc.png,\n")
    assert note.startswith("2 rows of ")
    assert note.endswith("without a value of kind (the first is row 3).")


def test_a_table_of_labels_that_is_not_used_is_said(tmp_path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,label\n")
    metadata = read_metadata(tmp_path, [])
    assert metadata is not None
    (note,) = metadata.notes(NAMES, [])
    assert "Set dataset.label_column to take them from its column label" in note
