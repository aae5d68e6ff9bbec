"""The test split, which a search never opens: for benchmarks that record what searches would have found."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

import numpy as np

from cbam_search.data.config import DatasetConfig
from cbam_search.data.decoding import decode_item, no_warnings_of_pillow
from cbam_search.data.examples import Examples
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.data.load import open_source
from cbam_search.data.planning import plan_splits
from cbam_search.errors import DataError
from cbam_search.own_code import NO_CODE, CodePermission


@dataclass(frozen=True)
class TestSplit:
    """split: as `ImageSplit`, in memory, of the size and channels of the other splits. fingerprint: SHA-256 of its arrays."""

    __test__ = False  # no test class, whatever pytest makes of the name

    split: ImageSplit
    fingerprint: str


def load_test(config: DatasetConfig, data: ImageData, *, seed: int, code: CodePermission = NO_CODE) -> TestSplit:
    """Decode the test images that belong to `data`, which `load` gave for the same `config` and `seed`.

    Images that cannot be decoded are left out. Raises DataError where there is no test split, and for images of another size.
    """
    planned = plan_splits(open_source(config, code=code), config, seed).splits.get("test")
    if planned is None:
        raise DataError("There is no test split: the source has none with labels, and dataset.test_fraction is 0.")
    images = np.empty((len(planned), data.channels, *data.image_size), dtype=np.uint8)
    places: list[int] = []
    problems = Examples()
    with no_warnings_of_pillow():
        for place, item in enumerate(planned.items()):
            image = decode_item(item, data.channels, config.height_width)
            if image.pixels is None:
                problems.add(partial(planned.name, place, image.path), image.problem)
                continue
            if image.pixels.shape[:2] != data.image_size:
                raise DataError(
                    f"Images of the test split have other sizes than the others, which are {data.image_size[0]} x "
                    f"{data.image_size[1]} (height x width): {planned.name(place, image.path)} is {image.pixels.shape[0]} x "
                    f"{image.pixels.shape[1]}. Set dataset.image_size."
                )
            images[len(places)] = image.pixels.transpose(2, 0, 1)
            places.append(place)
    if not places:
        raise DataError(f"No image of the test split can be decoded: {problems}.")
    split = ImageSplit(images[: len(places)], planned.labels[places])
    hasher = hashlib.sha256(f"{split.images.shape}\n".encode())
    hasher.update(split.images.data)
    hasher.update(split.labels.astype("<i8").tobytes())
    return TestSplit(split, hasher.hexdigest())
