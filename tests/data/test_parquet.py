"""Parquet files as people have them: damaged, cut off, changed meanwhile, of several schemas. Each error names the file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from permissions import unprivileged

from cbam_search.data.config import DatasetConfig
from cbam_search.data.load import load, open_source
from cbam_search.data.planning import plan_splits
from cbam_search.errors import DataError

LABELS = [0, 1] * 10


def loaded(train: str | Path, **settings):
    return load(DatasetConfig(source="parquet", train=str(train), **settings), seed=0)


@pytest.fixture
def images(png) -> list[bytes]:
    return [png(seed, 32, 32) for seed in range(20)]


@pytest.fixture
def bitmaps() -> list[bytes]:
    """What compresses, so that damage shows in the compressed page."""
    header = b"BM" + (54 + 32 * 32 * 3).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    header += (40).to_bytes(4, "little") + (32).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24)
    return [header + bytes([row]) * (32 * 32 * 3) for row in range(20)]


@pytest.mark.parametrize(("column", "place"), [("image.bytes", r", row group 1 \(rows 7 to 13\)"), ("label", "")])
def test_a_damaged_page_names_the_file(write_parquet, bitmaps, column, place) -> None:
    file = Path(write_parquet(bitmaps, LABELS))
    group = pq.read_metadata(file).row_group(1)
    (chunk,) = [group.column(at) for at in range(group.num_columns) if group.column(at).path_in_schema == column]
    content = bytearray(file.read_bytes())
    start = chunk.dictionary_page_offset
    for at in range(start, start + chunk.total_compressed_size):
        content[at] = (content[at] * 7 + 13) % 256
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"train\.parquet{place} cannot be read as parquet: "):
        loaded(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty"),
        (b"PAR1 nothing", r"cannot be read as parquet: .*[^.]\. Is it damaged, incomplete or of another format"),
        (b"image,label\n1.png,cat\n" * 10, r"cannot be read as parquet"),
    ],
)
def test_what_is_no_parquet_file_is_named(tmp_path, content, message) -> None:
    (tmp_path / "mine.parquet").write_bytes(content)
    with pytest.raises(DataError, match=rf"mine\.parquet {message}"):
        loaded(tmp_path / "mine.parquet")


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_file_that_was_cut_off_is_named(write_parquet, images, keep) -> None:
    file = Path(write_parquet(images, LABELS))
    os.truncate(file, int(file.stat().st_size * keep))
    with pytest.raises(DataError, match=r"train\.parquet cannot be read as parquet"):
        loaded(file)


def test_a_folder_and_a_link_to_nothing_are_no_files(tmp_path) -> None:
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(DataError, match=r"folder\.parquet is a folder; .*folder\.parquet/\*\.parquet"):
        loaded(tmp_path / "folder.parquet")
    (tmp_path / "link.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"link\.parquet cannot be read: it is not there"):
        loaded(tmp_path / "link.parquet")


def test_a_split_without_rows_is_named(write_parquet, images) -> None:
    with pytest.raises(DataError, match=r"dataset\.train: .*train\.parquet has no rows"):
        loaded(write_parquet([], []))
    empty = write_parquet([], [], "validation.parquet")
    with pytest.raises(DataError, match=r"dataset\.validation: .*validation\.parquet has no rows"):
        loaded(write_parquet(images, LABELS), validation=empty)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: Path(file).unlink(), "cannot be read: it is not there"),
        (lambda file: os.truncate(file, 2000), "was changed while it was being read"),
        (lambda file: os.utime(file, (1, 1)), "was changed while it was being read"),
    ],
    ids=["removed", "cut", "written anew"],
)
def test_a_file_that_changes_between_labels_and_images_is_named(
    write_parquet, images, change: Callable[[str], None], message
) -> None:
    file = write_parquet(images, LABELS)
    config = DatasetConfig(source="parquet", train=file)
    items = plan_splits(open_source(config), config, 0).splits["train"].items()
    assert isinstance(next(items), bytes)
    change(file)
    with pytest.raises(DataError, match=rf"train\.parquet.* {message}"):
        list(items)


SECOND_COLUMNS = {
    "no bytes": ({"image": pa.array([{"path": "x.png"}] * 2), "label": [0, 1]}, "Column 'image' holds struct<path: string>"),
    "numbers": ({"image": [1, 2], "label": [0, 1]}, "Column 'image' holds int64"),
    "text": ({"image": ["1.png", "2.png"], "label": [0, 1]}, "Column 'image' holds string"),
    "lists": ({"image": [b"x", b"y"], "label": [[0], [1]]}, "label column 'label' holds list"),
    "words": (
        {"image": [b"x", b"y"], "label": ["a", "b"]},
        "Column 'label' holds int64 in .*1.parquet and string in .*2.parquet",
    ),
    "none": ({"image": [b"x", b"y"]}, "no column label"),
}


@pytest.mark.parametrize(("columns", "message"), SECOND_COLUMNS.values(), ids=SECOND_COLUMNS)
def test_another_schema_in_a_later_file_is_named(write_parquet, images, tmp_path, columns, message) -> None:
    write_parquet(images, LABELS, "1.parquet")
    pq.write_table(pa.table(columns), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=message) as raised:
        loaded(tmp_path / "?.parquet")
    assert "2.parquet" in str(raised.value)


def test_columns_without_any_image_are_listed_with_their_types(tmp_path) -> None:
    pq.write_table(pa.table({"image": ["1.png", "2.png"], "label": [0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"No column holds images, .* image \(string\), label \(int64\)\. Text is not read"):
        loaded(tmp_path / "t.parquet")


def test_every_kind_of_image_that_is_none_is_named_by_file_and_row(write_parquet, images, tmp_path) -> None:
    paths = ["https://example.com/a.png", "gone.png", "../outside.png", "nul\0.png", "link.png", "."]
    rows = [{"bytes": b"", "path": None}, {"bytes": None, "path": None}, {"bytes": b"<!DOCTYPE html>", "path": None}]
    rows += [{"bytes": None, "path": path} for path in paths]
    reasons = [
        "it is empty",
        "there is no image",
        "none of JPEG, .* a web page",
        "not downloaded",
        "No such file",
    ]
    reasons += ["leads out of the folder", "cannot be followed: embedded null", "cannot be followed", "it is a folder"]
    (tmp_path / "link.png").symlink_to("link.png")
    for row, why in zip(rows, reasons, strict=True):
        table = [*({"bytes": image, "path": None} for image in images), row]
        pq.write_table(pa.table({"image": table, "label": [*LABELS, 0]}), tmp_path / "t.parquet")
        notes = loaded(tmp_path / "t.parquet", test_fraction=0, validation_fraction=0.2).notes
        (note,) = (note for note in notes if "cannot be decoded" in note)
        assert note.startswith("1 of 21 images cannot be decoded: ")
        assert f"{tmp_path / 't.parquet'} row 20" in note
        assert re.search(why, note)


def test_the_row_is_counted_in_its_own_file(write_parquet, images, tmp_path) -> None:
    write_parquet(images, LABELS, "1.parquet")
    write_parquet([*images[:5], b"broken", *images[6:]], LABELS, "2.parquet")
    data = loaded(tmp_path / "?.parquet", test_fraction=0, validation_fraction=0.2)
    assert any(f"cannot be decoded: {tmp_path / '2.parquet'} row 5 (" in note for note in data.notes)


def test_a_name_that_is_not_utf8_is_read(write_parquet, images, tmp_path) -> None:
    shutil.move(write_parquet(images, LABELS), os.fsencode(tmp_path) + b"/train-\xff.parquet")
    assert len(loaded(tmp_path / "train-*.parquet").train) == 16


def test_the_values_do_not_depend_on_how_many_rows_are_read_at_once(write_parquet, images, monkeypatch) -> None:
    file = write_parquet(images, LABELS)
    whole = loaded(file)
    monkeypatch.setattr("cbam_search.data.parquet_file._BATCH_BYTES", 1)
    single = loaded(file)
    assert np.array_equal(single.train.images, whole.train.images)
    assert single.fingerprint == whole.fingerprint


@pytest.mark.parametrize("what", ["the file", "its folder"])
def test_what_may_not_be_read_is_named(write_parquet, images, tmp_path, what) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    shutil.move(write_parquet(images, LABELS), folder / "train-1.parquet")
    closed, pattern = (folder / "train-1.parquet", "train-1.parquet") if what == "the file" else (folder, "train-*.parquet")
    code = (
        "import sys\nfrom cbam_search.data.config import DatasetConfig\nfrom cbam_search.data.load import load\n"
        "from cbam_search.errors import DataError\n"
        "try:\n    load(DatasetConfig(source='parquet', train=sys.argv[1]), seed=0)\n"
        "except DataError as error:\n    print(error)\n"
    )
    closed.chmod(0)
    try:
        run = subprocess.run(
            [*unprivileged(), sys.executable, "-c", code, str(folder / pattern)], capture_output=True, text=True, check=True
        )
    finally:
        closed.chmod(0o755)
    assert str(closed) in run.stdout
    assert "permission" in run.stdout.lower()
