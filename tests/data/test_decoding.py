from __future__ import annotations

import io
import os
import re
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from cbam_search.data.decoding import decode_item, no_warnings_of_pillow, size_of_item
from cbam_search.data.source import NoImage


def encoded(pixels: np.ndarray, kind: str = "PNG", mode: str | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def colour() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def test_colour_comes_through_unchanged(colour) -> None:
    image = decode_item(encoded(colour), 3, None)
    assert np.array_equal(image.pixels, colour)
    assert not (image.is_grey or image.has_alpha or image.is_16_bit)
    assert np.array_equal(decode_item(colour, 3, None).pixels, colour)


def test_grey_is_copied_to_three_channels_and_colour_made_grey(colour) -> None:
    grey = decode_item(encoded(colour[:, :, 0]), 3, None)
    assert grey.is_grey
    assert np.array_equal(grey.pixels, np.repeat(colour[:, :, :1], 3, axis=2))
    assert decode_item(encoded(colour), 1, None).pixels.shape == (6, 5, 1)


@pytest.mark.parametrize("as_array", [False, True])
def test_16_bit_keeps_the_high_byte(as_array) -> None:
    values = np.array([[0, 255, 256], [32768, 65279, 65535]], dtype=np.uint16)
    image = decode_item(values if as_array else encoded(values), 1, None)
    assert image.is_16_bit
    assert image.is_grey
    assert image.pixels[:, :, 0].tolist() == [[0, 0, 1], [128, 254, 255]]


def test_16_bit_tiff_in_big_endian_order() -> None:
    values = np.array([[0, 65535], [256, 512]], dtype=">u2")
    buffer = io.BytesIO()
    Image.frombytes("I;16B", (2, 2), values.tobytes()).save(buffer, "TIFF")
    image = decode_item(buffer.getvalue(), 1, None)
    assert image.pixels[:, :, 0].tolist() == [[0, 255], [1, 2]]


def test_transparency_is_composited_over_white() -> None:
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 3] = [0, 51, 255]
    image = decode_item(encoded(pixels), 3, None)
    assert image.has_alpha
    assert image.pixels[0, :, 0].tolist() == [255, 204, 0]


def test_palette_cmyk_and_bilevel_become_colour_or_grey(colour) -> None:
    palette, cmyk = io.BytesIO(), io.BytesIO()
    Image.fromarray(colour).quantize(16).save(palette, "PNG")
    Image.fromarray(colour).convert("CMYK").save(cmyk, "TIFF")
    for content in (palette.getvalue(), cmyk.getvalue()):
        assert decode_item(content, 3, None).pixels.shape == (6, 5, 3)
        assert not decode_item(content, 3, None).is_grey
    bilevel = decode_item(encoded(np.eye(4, dtype=bool)), 1, None)
    assert bilevel.is_grey
    assert bilevel.pixels[:, :, 0].tolist() == (np.eye(4, dtype=int) * 255).tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(colour, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(colour, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert np.array_equal(decode_item(content, 3, None).pixels, upright)
    assert np.array_equal(upright, colour) is (orientation == 1)


ENTRY_OF_ANOTHER_TYPE = struct.pack(">HHHLH2xHHL4sL", 2, 0x0112, 3, 1, 6, 0x0100, 2, 1, b"a", 0)


@pytest.mark.parametrize(("directory", "quarter_turns"), [(ENTRY_OF_ANOTHER_TYPE, -1), (b"", 0)], ids=["wrong type", "cut off"])
def test_damaged_exif_data_do_not_cost_the_image(colour, directory, quarter_turns) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08"[: None if directory else 12] + directory
    image = decode_item(encoded(colour, exif=exif), 3, None)
    assert np.array_equal(image.pixels, np.rot90(colour, quarter_turns))


def test_resizing_covers_and_crops_the_centre() -> None:
    wide = np.zeros((4, 12, 3), dtype=np.uint8)
    wide[:, 4:8] = 200
    assert (decode_item(encoded(wide), 3, (4, 4)).pixels == 200).all()
    assert decode_item(encoded(wide), 3, (8, 6)).pixels.shape == (8, 6, 3)


def test_a_large_jpeg_decoded_at_a_fraction_is_the_same_picture() -> None:
    row = np.linspace(0, 255, 512).astype(np.uint8)
    content = encoded(np.broadcast_to(row, (512, 512)).copy(), "JPEG", quality=95)
    small = decode_item(content, 1, (32, 32)).pixels[:, :, 0]
    assert np.abs(small.mean(axis=0) - row.reshape(32, 16).mean(axis=1)).max() < 4


def damaged_in_its_header(kind: str) -> bytes:
    content = bytearray(encoded(np.zeros((64, 64, 3), np.uint8), kind))
    content[12:40] = bytes(28)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no image"),
        (NoImage("it is given by an address"), "it is given by an address"),
        (b"", "it is empty"),
        (np.zeros((0, 3), np.uint8), "it is empty"),
        (b"not an\nimage at all", r"none of JPEG, .*PPM: it begins with not an\\nimage"),
        (b"\x1b[31m", r"begins with \\x1b\[31m"),
        (encoded(np.zeros((64, 64, 3), np.uint8), "JPEG")[:400], "(?i)truncated|broken"),
        (encoded(np.zeros((64, 64, 3), np.uint8))[:20], "damaged or incomplete|Truncated"),
        (damaged_in_its_header("PNG"), "."),
        (damaged_in_its_header("GIF"), "."),
        (damaged_in_its_header("WEBP"), "."),
        (damaged_in_its_header("BMP"), "."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "none of JPEG"),
        (encoded(np.zeros((2, 2), np.float32), "TIFF"), "floating-point"),
        (encoded(np.zeros((20_000, 10_000), bool)), "more than 179 megapixels"),
    ],
)
def test_what_cannot_be_decoded_has_a_problem_and_no_pixels(content, problem) -> None:
    image = decode_item(content, 3, (8, 8))
    assert image.pixels is None
    assert re.search(problem, image.problem)
    assert "BytesIO" not in image.problem
    assert image.problem.isprintable()


def test_files_that_cannot_be_read_have_a_problem_and_their_path(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with (tmp_path / "endless.png").open("wb") as file:
        file.truncate(3 * 2**30)  # nothing but a hole: it takes no room on the disk
    for name, problem in {
        "gone.png": "No such file or directory",
        "folder.png": "it is a folder",
        "pipe.png": "it is no file",
        "endless.png": "the file has 3.0 GiB, more than a picture can have",
    }.items():
        image = decode_item(tmp_path / name, 3, None)
        assert (image.pixels, image.problem, image.path) == (None, problem, tmp_path / name)


def test_bytes_changed_at_random_raise_nothing() -> None:
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "PPM", "TIFF"):
        content = encoded(random.integers(0, 256, (16, 16, 3), dtype=np.uint8), kind)
        for _ in range(50):
            damaged = bytearray(content)
            for place in random.integers(0, min(len(content), 200), 20):
                damaged[place] = random.integers(0, 256)
            with no_warnings_of_pillow():
                image = decode_item(bytes(damaged), 3, (8, 8))
                size_of_item(bytes(damaged))
            assert (image.pixels is None) == bool(image.problem)


def test_a_large_picture_is_marked_and_nothing_is_warned_of() -> None:
    content = encoded(np.zeros((10_000, 9_000), bool))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with no_warnings_of_pillow():
            image = decode_item(content, 1, (8, 8))
    assert image.large == (10_000, 9_000)
    assert image.pixels.shape == (8, 8, 1)


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_size_is_known_without_decoding(colour, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for item in (encoded(colour, exif=exif), encoded(colour, "JPEG", exif=exif)):
        assert size_of_item(item) == decode_item(item, 3, None).pixels.shape[:2]
    assert size_of_item(colour) == (6, 5)
    assert size_of_item(b"nothing") is None
