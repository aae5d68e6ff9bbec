"""Every image of a plan, read once, decoded and written to its place; what is wrong with images is counted on the way.

Test images are not decoded: their encoded bytes are hashed, so that the same image in two splits is found. It stays in
the more protected one: test before validation before train. Encoded files are compared (pixels, for sources that are
arrays): a picture saved twice with different settings is not found.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cbam_search.data.decoding import decode_item, digest_item, no_warnings_of_pillow, size_of_item
from cbam_search.data.decoding_pool import DecodingPool
from cbam_search.data.findings import Findings
from cbam_search.data.images import ImageSplit
from cbam_search.data.observations import Observations
from cbam_search.data.pixel_statistics import measure
from cbam_search.data.planning import PlannedSplit, SplitPlan
from cbam_search.data.same_pictures import SplitDigests, same_picture_notes
from cbam_search.data.split_watch import SplitWatch, digests_of_test
from cbam_search.errors import DataError

UInt8Array = npt.NDArray[np.uint8]
Allocate = Callable[[str, tuple[int, int, int, int]], UInt8Array]
"""From a split's name and (N, C, H, W) to a writable uint8 array, in memory or mapped."""

_SIZES_OF = 1000  # images of a split, looked at to say which sizes there are


class ColourFoundError(Exception):
    """A colour image where all were taken to be grey: start again with three channels."""


@dataclass(frozen=True)
class PixelFormat:
    """What every image becomes. resize: other sizes are brought to this one. colour_allowed: False for an unproven guess."""

    channels: int
    height: int
    width: int
    resize: bool
    colour_allowed: bool = True

    @property
    def height_width(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def image_bytes(self) -> int:
        """Of one decoded image."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Ingested:
    """mean, std: (C,) of the training pixels on [0, 1]. fingerprint: SHA-256 over pixels, labels and splits."""

    train: ImageSplit
    validation: ImageSplit
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    notes: tuple[str, ...]


def ingest(
    plan: SplitPlan, pixel_format: PixelFormat, max_corrupt_fraction: float, allocate: Allocate, *, limit_bytes: float
) -> Ingested:
    """Decode validation and train into arrays from `allocate`.

    limit_bytes: bounds what is held of decoded images beside these arrays. Raises DataError for images of another size where
    none was asked for, for a split of which no image is left, for more corrupt images than allowed, and for a source that
    cannot be read to its end; ColourFoundError at a colour image that `pixel_format` does not allow.
    """
    findings = Findings()
    seen = Observations(pixel_format.height_width if pixel_format.resize else None)
    pictures: dict[str, SplitDigests] = {}
    kept_in: dict[bytes, str] = {}
    with no_warnings_of_pillow(), DecodingPool(limit_bytes) as pool:
        if "test" in plan.splits:
            test_digests = list(_test_digests(pool, plan.splits["test"], findings))
            kept_in |= dict.fromkeys(test_digests, "test")
            pictures["test"] = digests_of_test(plan.splits["test"], test_digests)
        hasher = hashlib.sha256("\n".join((*plan.class_names, "test", *sorted(map(bytes.hex, kept_in)))).encode())
        splits = {}
        for name in ("validation", "train"):
            planned = plan.splits[name]
            images = allocate(name, (len(planned), pixel_format.channels, *pixel_format.height_width))
            watch = SplitWatch(seen, planned, images)
            splits[name] = _decode_split(pool, name, plan, images, pixel_format, findings, kept_in, watch)
            pictures[name] = watch.pictures()
    seen.refuse_all_constant()
    if findings.corrupt.count > max_corrupt_fraction * findings.total:
        raise DataError(
            f"{findings.corrupt_images}. That is more than max_corrupt_fraction, {max_corrupt_fraction:g}, allows: mend or "
            "remove them, or allow more."
        )
    mean, std = measure(splits, hasher.update)
    return Ingested(
        train=splits["train"],
        validation=splits["validation"],
        mean=mean,
        std=std,
        fingerprint=hasher.hexdigest(),
        notes=(
            *findings.notes(pixel_format.channels),
            *seen.notes(pixel_format.channels),
            *same_picture_notes(pictures, plan.class_names),
        ),
    )


def _test_digests(pool: DecodingPool, planned: PlannedSplit, findings: Findings) -> Iterator[bytes]:
    for place, image in enumerate(pool.map(digest_item, planned.items(), 1)):
        if image.problem:
            findings.add_unread_test(image, partial(planned.name, place, image.path))
        yield image.digest


def _decode_split(
    pool: DecodingPool,
    name: str,
    plan: SplitPlan,
    images: UInt8Array,
    pixel_format: PixelFormat,
    findings: Findings,
    kept_in: dict[bytes, str],
    watch: SplitWatch,
) -> ImageSplit:
    """Fill `images` from the front with those that are sound and in no more protected split; add theirs to `kept_in`."""
    planned = plan.splits[name]
    wanted_size = pixel_format.height_width if pixel_format.resize else None
    decode = partial(decode_item, channels=pixel_format.channels, height_width=wanted_size, budget=pool.budget)
    places: list[int] = []
    digests: set[bytes] = set()
    for place, image in enumerate(pool.map(decode, planned.items(), pixel_format.image_bytes)):
        findings.add(image, partial(planned.name, place, image.path))
        if image.pixels is None:
            continue
        if not (image.is_grey or pixel_format.colour_allowed):
            raise ColourFoundError
        if image.pixels.shape[:2] != pixel_format.height_width:
            found = f"{planned.name(place, image.path)} is {image.pixels.shape[0]} x {image.pixels.shape[1]}"
            raise DataError(_sizes_message(plan, pixel_format, found))
        watch.decoded(place, image)
        if image.digest in kept_in:
            findings.duplicates[name, kept_in[image.digest]] += 1
            continue
        images[len(places)] = image.pixels.transpose(2, 0, 1)
        places.append(place)
        watch.kept(place)
        digests.add(image.digest)
    if not places:
        raise DataError(" ".join((f"No image of the {name} split is left.", *findings.notes(pixel_format.channels))))
    kept_in |= dict.fromkeys(digests, name)
    return ImageSplit(images[: len(places)], planned.labels[places])


def _sizes_message(plan: SplitPlan, pixel_format: PixelFormat, found: str) -> str:
    """found: which image is of another size, and of which."""
    counts: Counter[tuple[int, int]] = Counter()
    usual = ""
    for planned in (plan.splits["train"], plan.splits["validation"]):
        for place, item in enumerate(islice(planned.items(), _SIZES_OF)):
            size = size_of_item(item)
            if size is None:
                continue
            counts[size] += 1
            if size == pixel_format.height_width and not usual:
                path = item if isinstance(item, Path) else None
                usual = f"{planned.name(place, path)} is {size[0]} x {size[1]}, "
    sizes = ", ".join(f"{height} x {width} ({count:,})" for (height, width), count in counts.most_common(5))
    more = f" and {len(counts) - 5} more sizes" if len(counts) > 5 else ""
    return (
        f"The images have several sizes (height x width): {sizes}{more}. {usual}{found}. "
        "Set dataset.image_size to bring them to one."
    )
