"""Every image of a plan, read once, decoded and written to its place; what is wrong with images is counted on the way.

Test images are not decoded: their encoded bytes are hashed, so that the same image in two splits is found. It stays in
the more protected one: test before validation before train. Encoded files are compared (pixels, for sources that are
arrays): a picture saved twice with different settings is not found.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cbam_search.data.decoding import decode_item, digest_item
from cbam_search.data.findings import Findings
from cbam_search.data.images import ImageSplit
from cbam_search.data.observations import Observations, SplitWatch, digests_of_test
from cbam_search.data.planning import PlannedSplit, SplitPlan
from cbam_search.data.same_pictures import SplitDigests, same_picture_notes
from cbam_search.data.source import Item
from cbam_search.errors import DataError

UInt8Array = npt.NDArray[np.uint8]
Allocate = Callable[[str, tuple[int, int, int, int]], UInt8Array]
"""From a split's name and (N, C, H, W) to a writable uint8 array, in memory or mapped."""
_T = TypeVar("_T")

_CHUNK_IMAGES = 512
_THREADED_BYTES = 16_384  # decoding smaller images holds Python's lock most of the time: threads only slow it down


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


@dataclass(frozen=True)
class Ingested:
    """mean, std: (C,) of the training pixels on [0, 1]. fingerprint: SHA-256 over pixels, labels and splits."""

    train: ImageSplit
    validation: ImageSplit
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    notes: tuple[str, ...]


def ingest(plan: SplitPlan, pixel_format: PixelFormat, max_corrupt_fraction: float, allocate: Allocate) -> Ingested:
    """Decode validation and train into arrays from `allocate`.

    Raises DataError for images of another size where none was asked for, for a split of which no image is left, and for
    more corrupt images than allowed; ColourFoundError at a colour image that `pixel_format` does not allow.
    """
    findings = Findings()
    seen = Observations(pixel_format.height_width if pixel_format.resize else None)
    pictures: dict[str, SplitDigests] = {}
    kept_in: dict[bytes, str] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        if "test" in plan.splits:
            test_digests = list(_mapped(threads, _digest, plan.splits["test"]))
            kept_in |= dict.fromkeys(test_digests, "test")
            pictures["test"] = digests_of_test(plan.splits["test"], test_digests)
        hasher = hashlib.sha256("\n".join((*plan.class_names, "test", *sorted(map(bytes.hex, kept_in)))).encode())
        splits = {}
        for name in ("validation", "train"):
            planned = plan.splits[name]
            images = allocate(name, (len(planned), pixel_format.channels, *pixel_format.height_width))
            watch = SplitWatch(seen, planned, images)
            splits[name] = _decode_split(threads, name, planned, images, pixel_format, findings, kept_in, watch)
            pictures[name] = watch.pictures()
    seen.refuse_all_constant()
    if findings.corrupt > max_corrupt_fraction * findings.total:
        raise DataError(
            f"{findings.notes(pixel_format.channels)[0]} That is more than max_corrupt_fraction, {max_corrupt_fraction:g}."
        )
    mean, std = _measure(splits, pixel_format.channels, hasher.update)
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


def _decode_split(
    threads: ThreadPoolExecutor,
    name: str,
    planned: PlannedSplit,
    images: UInt8Array,
    pixel_format: PixelFormat,
    findings: Findings,
    kept_in: dict[bytes, str],
    watch: SplitWatch,
) -> ImageSplit:
    """Fill `images` from the front with those that are sound and in no more protected split; add theirs to `kept_in`."""
    wanted_size = pixel_format.height_width if pixel_format.resize else None
    decode = partial(decode_item, channels=pixel_format.channels, height_width=wanted_size)
    places: list[int] = []
    digests: set[bytes] = set()
    for place, image in enumerate(_mapped(threads, decode, planned)):
        findings.add(image)
        if image.pixels is None:
            continue
        if not (image.is_grey or pixel_format.colour_allowed):
            raise ColourFoundError
        if image.pixels.shape[:2] != pixel_format.height_width:
            raise DataError(_sizes_message(planned))
        watch.decoded(place, image)
        if image.digest in kept_in:
            findings.duplicates[name, kept_in[image.digest]] += 1
            continue
        images[len(places)] = image.pixels.transpose(2, 0, 1)
        places.append(place)
        watch.kept(place)
        digests.add(image.digest)
    if not places:
        raise DataError(f"No image of the {name} split is left. {' '.join(findings.notes(pixel_format.channels))}")
    kept_in |= dict.fromkeys(digests, name)
    return ImageSplit(images[: len(places)], planned.labels[places])


def _measure(
    splits: dict[str, ImageSplit], channels: int, update: Callable[[bytes], None]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Pass shapes, labels and pixels to `update`, and return (mean, std) of the training pixels a channel.

    Counting each of the 256 values makes the figures exact, whatever the order. A constant channel has std 1/255, so that
    dividing by it stays finite.
    """
    counts = np.zeros((channels, 256))
    for name, split in splits.items():
        update(f"\n{name} {split.images.shape}\n".encode())
        update(split.labels.astype("<i8").tobytes())
        for start in range(0, len(split), _CHUNK_IMAGES):
            chunk = split.images[start : start + _CHUNK_IMAGES]
            update(chunk.tobytes())
            if name == "train":
                counts += [np.bincount(chunk[:, channel].ravel(), minlength=256) for channel in range(channels)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = shares @ values
    variance = np.maximum(shares @ values**2 - mean**2, 0)
    return tuple(mean.tolist()), tuple(np.maximum(np.sqrt(variance), 1 / 255).tolist())


def _mapped(threads: ThreadPoolExecutor, work: Callable[[Item | None], _T], planned: PlannedSplit) -> Iterator[_T]:
    """`work` on every item in order, a chunk at a time, so that few encoded images are held at once."""
    items = planned.items()
    while chunk := list(islice(items, _CHUNK_IMAGES)):
        yield from (threads.map if _is_worth_threads(chunk) else map)(work, chunk)


def _is_worth_threads(chunk: list[Item | None]) -> bool:
    sizes = [_THREADED_BYTES if isinstance(item, Path) else len(item) for item in chunk if isinstance(item, bytes | Path)]
    return sum(sizes) >= _THREADED_BYTES * max(len(sizes), 1)


def _digest(item: Item | None) -> bytes:
    try:
        return digest_item(item)
    except OSError:
        return b""


def _sizes_message(planned: PlannedSplit) -> str:
    checked = [decode_item(item, 3, None).pixels for item in islice(planned.items(), 1000)]
    sizes = Counter(f"{pixels.shape[0]} x {pixels.shape[1]}" for pixels in checked if pixels is not None)
    shown = ", ".join(f"{size} ({count:,})" for size, count in sizes.most_common(5))
    more = f" and {len(sizes) - 5} more sizes" if len(sizes) > 5 else ""
    return f"The images have several sizes (height x width): {shown}{more}. Set dataset.image_size to bring them to one."
