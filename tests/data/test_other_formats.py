from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from cbam_search.data.decoding import decode_item
from cbam_search.data.other_formats import described


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC.*convert it"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF.*convert it"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "film"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "Git LFS.*git lfs pull"),
        (b"<!DOCTYPE html><html>404", "web page.*anew"),
        (b'\xef\xbb\xbf\n<?xml version="1.0"?>\n<svg xmlns="...">', "SVG.*PNG"),
        (b"\0\5\x16\7" + bytes(80), "macOS.*remove"),
        (b"PK\3\4" + bytes(20), "zip.*unpack"),
        (bytes(128) + b"DICM" + bytes(20), "DICOM.*PNG"),
    ],
)
def test_a_file_that_is_no_image_is_told_for_what_it_is(content, told) -> None:
    image = decode_item(content, 3, None)
    assert image.pixels is None
    assert re.search(f"none of JPEG, PNG.*: it is .*{told}", image.problem)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_images_in_base64_are_known(kind) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(buffer, kind)
    assert f"a {kind} in base64" in described(base64.b64encode(buffer.getvalue()))


def test_of_what_is_not_known_its_first_bytes_are_shown() -> None:
    assert described(b"not an\nimage at all") == r"it begins with not an\nimage"
    assert described(b"") == "it begins with "
