from __future__ import annotations

import numpy as np

from cbam_search.data.decoding import DecodedImage
from cbam_search.data.findings import Findings

PIXELS = np.zeros((2, 2, 1), np.uint8)


def test_names_are_asked_for_only_where_they_are_shown() -> None:
    asked: list[int] = []
    findings = Findings()
    for number in range(10):
        image = DecodedImage(b"", problem="torn") if number % 2 else DecodedImage(b"", PIXELS, is_grey=True)
        findings.add(image, lambda number=number: asked.append(number) or f"{number}.png")
    assert asked == [1, 3, 5]
    (corrupt,) = findings.notes(1)
    assert (
        corrupt == "5 of 10 images cannot be decoded: 1.png (torn), 3.png (torn), 5.png (torn) and 2 more. They were left out."
    )


def test_large_images_are_named_with_their_size() -> None:
    findings = Findings()
    findings.add(DecodedImage(b"", PIXELS, is_grey=True, large=(10_000, 9_000)), lambda: "map.png")
    (note,) = findings.notes(1)
    assert note.startswith("1 of 1 images are so large ")
    assert "map.png (10,000 x 9,000)" in note


def test_one_image_is_one() -> None:
    findings = Findings()
    findings.add_unread_test(DecodedImage(b"", problem="torn"), lambda: "a.png")
    findings.duplicates["train", "test"] += 1
    assert findings.notes(1) == (
        "1 image of the test split cannot be read: a.png (torn).",
        "1 image of the train split is in the test split too and was removed from train.",
    )
