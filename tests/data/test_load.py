"""What is wrong with images and labels in practice: each is counted, then handled or refused."""

from __future__ import annotations

import io
import re
import sys
import types
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbam_search.data import cache
from cbam_search.data.cache import CacheWriter, read_cache
from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.errors import DataError
from cbam_search.own_code import CodePermission


@pytest.fixture
def loaded(write_parquet):
    """loaded(images, labels, ...) -> ImageData of a parquet file of them; validation and test are a tenth each."""

    def make(images, labels, *, validation=None, test=None, seed=0, columns=None, **settings):
        paths = {"train": write_parquet(images, labels, **(columns or {}))}
        if validation:
            paths["validation"] = write_parquet(*validation, "validation.parquet")
        if test:
            paths["test"] = write_parquet(*test, "test.parquet")
        return load(DatasetConfig(source="parquet", **paths, **settings), seed=seed)

    return make


@pytest.fixture
def images(png):
    return [png(seed) for seed in range(40)]


LABELS = [0, 1] * 20


def count(data) -> int:
    return len(data.train) + len(data.validation) + data.test_count


def has_note(data, start: str) -> bool:
    return any(note.startswith(start) for note in data.notes)


def test_corrupt_images_are_left_out_and_counted(loaded, images) -> None:
    images[3], images[20] = b"nothing", None
    data = loaded(images, LABELS, test_fraction=0)
    assert count(data) == 38
    assert has_note(data, "2 of 40 images cannot be decoded: ")


def test_where_no_image_can_be_decoded_the_first_are_named(loaded) -> None:
    with pytest.raises(
        DataError, match=r"None of the 32 training images .*: .*train\.parquet row 0 \(none of .*\) and 29 more"
    ):
        loaded([b"nothing"] * 40, LABELS)
    with pytest.raises(DataError, match=r"None of the first 64 training images can be decoded: .* and 61 more"):
        loaded([b"nothing"] * 100, [0, 1] * 50)


def test_an_image_that_is_too_large_is_named(loaded, images) -> None:
    buffer = io.BytesIO()
    Image.new("1", (10_000, 9_000)).save(buffer, "PNG")
    images[4] = buffer.getvalue()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = loaded(images, LABELS, image_size=8, test_fraction=0)
    assert any("train.parquet row 4 (9,000 x 10,000)" in note for note in data.notes)


def test_test_images_that_cannot_be_read_are_named(loaded, images, png) -> None:
    data = loaded(images, LABELS, test=([png(100), None, png(101)], [0, 1, 0]))
    assert data.test_count == 3
    assert any(
        re.fullmatch(r"1 image of the test split cannot be read: .*test\.parquet row 1 \(.*\)\.", note) for note in data.notes
    )


def test_a_size_of_one_split_alone_is_named(loaded, images, png) -> None:
    validation = [png(seed, 9, 9) for seed in range(4)]
    message = r"8 x 8 \(36\), 9 x 9 \(4\)\. .*train\.parquet row 0 is 8 x 8, .*validation\.parquet row 0 is 9 x 9\."
    with pytest.raises(DataError, match=message):
        loaded(images, LABELS, validation=(validation, LABELS[:4]))


def test_too_many_corrupt_images_are_refused(loaded, images) -> None:
    images[:10] = [b"nothing"] * 10
    with pytest.raises(DataError, match=r"10 of 40 .* max_corrupt_fraction, 0\.1"):
        loaded(images, LABELS, test_fraction=0)
    assert count(loaded(images, LABELS, test_fraction=0, max_corrupt_fraction=0.25)) == 30


def test_grey_among_colour(loaded, images, png) -> None:
    images[::4] = [png(1000 + seed, mode="L") for seed in range(10)]
    data = loaded(images, LABELS, test_fraction=0)
    assert data.channels == 3
    assert has_note(data, "10 of 40 images are grey")


def test_colour_after_many_grey_images_is_found(loaded, png) -> None:
    images = [png(seed, mode="L") for seed in range(99)]
    data = loaded([*images, png(99)], [0, 1] * 50, test_fraction=0, validation_fraction=0.01, seed=1)
    assert data.channels == 3
    assert has_note(data, "99 of 100 images are grey")


def test_all_grey_has_one_channel_and_colour_can_be_made_grey(loaded, images, png) -> None:
    grey = loaded([png(seed, mode="L") for seed in range(40)], LABELS)
    assert grey.channels == 1
    made_grey = loaded(images, LABELS, channels=1)
    assert made_grey.channels == 1
    assert has_note(made_grey, "36 of 36 images are in colour and were made grey")


def test_transparency_and_16_bit_are_converted_and_counted(loaded, images, png) -> None:
    images[0], images[1] = png(500, mode="RGBA"), png(501, mode="LA")
    images[2] = png(502, mode="I;16")
    data = loaded(images, LABELS, test_fraction=0)
    assert count(data) == 40
    assert has_note(data, "2 of 40 images have transparency")
    assert has_note(data, "1 of 40 images have 16 bits a channel")
    assert has_note(data, "2 of 40 images are grey")


def test_missing_labels_are_left_out_and_counted(loaded, images) -> None:
    data = loaded(images, [None, -1, *LABELS[2:]])
    assert count(data) == 38
    assert has_note(data, "2 of 40 images of the source's train split have no label")


def test_label_gaps_are_closed(loaded, images) -> None:
    data = loaded(images, [5 * label for label in LABELS])
    assert data.class_names == ("0", "5")
    assert set(data.train.labels.tolist()) == {0, 1}
    assert has_note(data, "4 of 6 labels have no image")


def test_a_single_class_is_refused(loaded, images) -> None:
    with pytest.raises(DataError, match="only class '0'"):
        loaded(images, [0] * 40)


@pytest.mark.parametrize("seed", range(5))
def test_the_image_of_a_one_member_class_stays_in_training(loaded, images, seed) -> None:
    data = loaded(images, [2, *LABELS[1:]], seed=seed)
    assert 2 in data.train.labels
    assert 2 not in data.validation.labels
    assert has_note(data, "1 class has a single image")


def test_the_same_image_in_two_splits_stays_in_the_more_protected_one(loaded, images, png) -> None:
    validation = [images[0], *[png(100 + seed) for seed in range(9)]]
    test = [images[1], validation[1], *[png(200 + seed) for seed in range(8)]]
    data = loaded(images, LABELS, validation=(validation, LABELS[:10]), test=(test, LABELS[:10]))
    assert (len(data.train), len(data.validation), data.test_count) == (38, 9, 10)
    assert has_note(data, "1 image of the train split is in the test split too")
    assert has_note(data, "1 image of the train split is in the validation split too")
    assert has_note(data, "1 image of the validation split is in the test split too")


def test_carved_splits_do_not_share_images_either(loaded, images) -> None:
    data = loaded(images * 2, LABELS * 2, validation_fraction=0.25, test_fraction=0)
    validation = {image.tobytes() for image in data.validation.images}
    assert not validation & {image.tobytes() for image in data.train.images}


def test_several_sizes_need_image_size(loaded, images, png) -> None:
    images[5:8] = [png(300 + seed, height=9, width=11) for seed in range(3)]
    with pytest.raises(
        DataError, match=r"8 x 8 \(33\), 9 x 11 \(3\).* row \d+ is 8 x 8, .*train\.parquet row [567] is 9 x 11.*image_size"
    ):
        loaded(images, LABELS)
    assert loaded(images, LABELS, image_size=6).image_size == (6, 6)
    assert loaded(images, LABELS, image_size=(6, 10)).image_size == (6, 10)


def test_limit_shrinks_every_split_and_keeps_the_class_shares(loaded, images) -> None:
    data = loaded(images, LABELS, limit=20)
    assert (len(data.train), len(data.validation), data.test_count) == (16, 2, 2)
    assert np.bincount(data.train.labels).tolist() == [8, 8]
    with pytest.raises(DataError, match="validation split would be empty"):
        loaded(images, LABELS, limit=2)


def test_groups_stay_together(loaded, images) -> None:
    groups = [row // 4 for row in range(40)]
    data = loaded(images, LABELS, group_column="patient", columns={"patient": groups})
    assert all(size % 4 == 0 for size in (len(data.train), len(data.validation), data.test_count))
    assert data.test_count == len(data.validation) == 4
    with pytest.raises(DataError, match="several groups"):
        loaded(images, LABELS, group_column="patient", columns={"patient": ["one"] * 40})


def test_the_fingerprint_follows_pixels_labels_and_splits(loaded, images, png) -> None:
    def fingerprint(*arguments, **options) -> str:
        return loaded(*arguments, **options).fingerprint

    base = fingerprint(images, LABELS)
    assert base == fingerprint(images, LABELS)
    assert base != fingerprint(images, LABELS, seed=1)
    assert base != fingerprint(images, LABELS[::-1])
    assert base != fingerprint([png(999), *images[1:]], LABELS)


def test_a_larger_set_streams_from_a_cache_that_is_made_once(loaded, images, tmp_path) -> None:
    settings = {"memory_limit_gib": 1e-6, "cache_folder": str(tmp_path / "cache"), "test_fraction": 0}
    images[7] = b"corrupt"
    plain = loaded(images, LABELS, test_fraction=0)
    mapped = loaded(images, LABELS, **settings)
    assert (plain.storage, mapped.storage) == ("memory", "memory_mapped")
    assert isinstance(mapped.train.images, np.memmap)
    assert not mapped.train.images.flags.writeable
    for one, other in ((plain.train, mapped.train), (plain.validation, mapped.validation)):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.labels, other.labels)
    assert (plain.mean, plain.std, plain.fingerprint) == (mapped.mean, mapped.std, mapped.fingerprint)
    (entry,) = (tmp_path / "cache").iterdir()
    made = (entry / "train.u8").stat()
    assert made.st_size == mapped.train.images.nbytes


def test_the_cache_is_used_again_until_something_changes(cifar_file, tmp_path) -> None:
    def entries(**settings) -> set[tuple[str, int]]:
        config = DatasetConfig(
            source="parquet", train=str(cifar_file), memory_limit_gib=1e-6, cache_folder=str(tmp_path), **settings
        )
        load(config, seed=0)
        return {(entry.name, (entry / "data.json").stat().st_ino) for entry in tmp_path.iterdir()}

    first = entries()
    assert entries() == first
    assert len(entries(image_size=16)) == 2
    ((name, _),) = first
    with (tmp_path / name / "train.u8").open("r+b") as file:
        file.truncate(1000)
    repaired = entries()
    assert len(repaired) == 2
    assert not first & repaired


def test_a_failed_cache_leaves_nothing_behind(loaded, images, tmp_path) -> None:
    with pytest.raises(DataError):
        loaded([b""] * 12 + images[12:], LABELS, memory_limit_gib=1e-6, cache_folder=str(tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_whose_labels_are_empty_is_made_again(cifar_file, tmp_path) -> None:
    """What a power cut may leave of a file that was not yet written out."""
    config = DatasetConfig(source="parquet", train=str(cifar_file), memory_limit_gib=1e-6, cache_folder=str(tmp_path))
    fingerprint = load(config, seed=0).fingerprint
    (entry,) = tmp_path.iterdir()
    (entry / "train_labels.npy").write_bytes(b"")
    assert load(config, seed=0).fingerprint == fingerprint
    assert list(tmp_path.iterdir()) == [entry]
    assert (entry / "train_labels.npy").stat().st_size


def test_of_two_launches_the_first_makes_the_cache_and_the_second_leaves_it(loaded, images, tmp_path, monkeypatch) -> None:
    """The other publishes in the moment after this one has found no entry."""
    data = loaded(images, LABELS, memory_limit_gib=1e-6, cache_folder=str(tmp_path / "cache"))
    entry = tmp_path / "entry"
    published: list[int] = []

    def publish(writer: CacheWriter) -> None:
        splits = {}
        for name in ("train", "validation"):
            split = getattr(data, name)
            splits[name] = replace(split, images=writer.allocate(name, split.images.shape))
        writer.publish(replace(data, **splits))
        published.append((entry / "data.json").stat().st_ino)

    with CacheWriter(entry, 0) as one, CacheWriter(entry, 0) as other:

        def and_then_the_other_publishes(path: Path) -> ImageData | None:
            found = read_cache(path)
            if not published:
                monkeypatch.undo()
                publish(other)
            return found

        monkeypatch.setattr(cache, "read_cache", and_then_the_other_publishes)
        publish(one)
        if len(published) == 1:
            publish(other)
    assert len(published) == 2
    assert len(set(published)) == 1


def test_the_cache_follows_labels_in_metadata(png, tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(20):
        (tmp_path / "photos" / f"{number}.png").write_bytes(png(number))

    def class_names(kinds: str) -> tuple[str, ...]:
        rows = "".join(f"{number}.png,{kinds[number % 2]}\n" for number in range(20))
        (tmp_path / "photos" / "metadata.csv").write_text("file_name,kind\n" + rows)
        config = DatasetConfig(
            source="image_folder",
            path=str(tmp_path / "photos"),
            label_column="kind",
            memory_limit_gib=1e-6,
            cache_folder=str(tmp_path / "cache"),
        )
        return load(config, seed=0).class_names

    assert class_names("ab") == ("a", "b")
    assert class_names("xyz") == ("x", "y")


def test_the_cache_follows_what_a_function_returns_beside_images(tmp_path, monkeypatch) -> None:
    config = DatasetConfig(
        source="function", function="changing_source:make", memory_limit_gib=1e-6, cache_folder=str(tmp_path / "cache")
    )
    module = types.ModuleType("changing_source")
    monkeypatch.setitem(sys.modules, "changing_source", module)
    arrays = {
        "images": np.random.default_rng(0).integers(0, 256, (40, 6, 6), dtype=np.uint8),
        "labels": np.arange(40) % 2,
    }

    def data(splits: list[str], names: str = "ab") -> ImageData:
        module.make = lambda: arrays | {"splits": splits, "class_names": list(names)}
        return load(config, seed=0, code=CodePermission.of(True))

    assert len(data(["train"] * 30 + ["val"] * 6 + ["test"] * 4).validation) == 6
    assert len(data(["train"] * 30 + ["val"] * 4 + ["test"] * 6).validation) == 4
    assert data(["train"] * 30 + ["val"] * 4 + ["test"] * 6, "xy").class_names == ("x", "y")
