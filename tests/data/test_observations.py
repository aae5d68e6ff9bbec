"""What decoded images show that is probably not meant."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData
from cbam_search.data.load import load
from cbam_search.errors import DataError

LABELS = [0, 1] * 20


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def random_pixels(seed: int, top: int = 256, shape=(8, 8, 3), kind=np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, shape).astype(kind)


@pytest.fixture
def found(write_parquet):
    """The notes of 40 images, from pixels."""

    def make(pixels, labels=LABELS, **settings) -> str:
        config = DatasetConfig(source="parquet", train=write_parquet([encoded(image) for image in pixels], labels), **settings)
        data: ImageData = load(config, seed=0)
        return "\n".join(data.notes)

    return make


@pytest.fixture
def pixels() -> list[np.ndarray]:
    return [random_pixels(seed) for seed in range(40)]


def test_sound_images_have_three_notes(found, pixels) -> None:
    assert len(found(pixels).splitlines()) == 3  # classes, carved splits, where images are held


def test_constant_images_are_counted_and_named(found, pixels) -> None:
    for place, value in ((3, 0), (10, 0), (11, 255), (20, 7)):
        pixels[place] = np.full((8, 8, 3), value, dtype=np.uint8)
    notes = found(pixels, test_fraction=0)
    assert "of 40 images are constant, every pixel of one value (2 black, 1 " in notes
    assert "and 1 more" in notes


def test_one_colour_in_an_image_is_constant_too(found, pixels) -> None:
    pixels[3] = np.full((8, 8, 3), (10, 200, 30), dtype=np.uint8)
    assert "1 of 40 images is constant, every pixel of one value (1 neither black nor white)" in found(pixels, test_fraction=0)


def test_a_constant_channel_is_said(found, pixels) -> None:
    for image in pixels:
        image[..., 2] = 128
    assert "40 of 40 images with a constant channel (blue 40): " in found(pixels, test_fraction=0)


def test_nothing_but_constant_images_is_refused(found) -> None:
    with pytest.raises(DataError, match=r"36 of 36 images are constant, .*There is nothing to learn"):
        found([np.full((8, 8), value, dtype=np.uint8) for value in range(40)])


def test_sixteen_bits_of_which_eight_are_used_are_refused_with_what_to_do(found) -> None:
    dark = [random_pixels(seed, 250, (8, 8), np.uint16) for seed in range(40)]
    with pytest.raises(DataError, match=r"no value above 255 of 65,535 \(8 bits or fewer\).* Save them as 8 bits"):
        found(dark)


def test_sixteen_bits_of_which_twelve_are_used_are_said(found) -> None:
    notes = found([random_pixels(seed, 4096, (8, 8), np.uint16) for seed in range(40)])
    assert "36 images of 16 bits with no value above 4,095 of 65,535 (12 bits or fewer)" in notes
    assert "16 bits with no value" not in found([random_pixels(seed, 65536, (8, 8), np.uint16) for seed in range(40)])


def test_pixels_of_class_numbers_are_said(found) -> None:
    assert "No pixel is brighter than 2 of 255" in found([random_pixels(seed, 3, (8, 8)) for seed in range(40)])


def test_grey_images_stored_in_colour_are_said(found) -> None:
    grey = [np.repeat(random_pixels(seed, shape=(8, 8, 1)), 3, axis=2) for seed in range(40)]
    assert "stored in colour, but are grey: dataset.channels: 1" in found(grey)
    grey[5] = random_pixels(5)
    assert "stored in colour" not in found(grey, test_fraction=0)


def test_a_few_colour_images_that_make_all_colour_are_said(found) -> None:
    images = [random_pixels(seed, shape=(8, 8)) for seed in range(40)]
    images[7] = random_pixels(7)
    assert "Only 1 image of 40 in colour" in found(images, test_fraction=0)


def test_enlarged_and_cut_images_are_said(found, pixels) -> None:
    assert "36 of 36 images were enlarged twofold or more to 16 x 16" in found(pixels, image_size=16)
    wide = [random_pixels(seed, shape=(8, 40, 3)) for seed in range(20)] + pixels[20:]
    notes = found(wide, image_size=8, test_fraction=0)
    assert "Of 20 of 40 images more than half is cut off" in notes
    assert "8 x 40" in notes
    assert "cut off" not in found(pixels, image_size=6)


def test_contradicting_labels_are_counted_over_all_splits(found, pixels) -> None:
    notes = found([*pixels, pixels[0], pixels[2], pixels[5]], [*LABELS, 1, 1, 1])
    assert "4 images show 2 pictures with contradicting labels, such as " in notes


def test_copies_in_a_split_are_counted(found, pixels) -> None:
    notes = found([*pixels, pixels[0]], [*LABELS, 0], test_fraction=0, validation_fraction=0.05)
    assert ("1 image of the train split is a copy of another" in notes) != ("1 image of the train split is in the" in notes)
    assert "contradicting" not in notes
