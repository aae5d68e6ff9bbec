"""What decoded images show that is probably not meant: constant or dark pictures, one picture under several labels.

Constant images are looked for in blocks of decoded pixels, so that an image costs no call of its own.
Legend: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cbam_search.data.decoding import DecodedImage, digest_item
from cbam_search.data.planning import PlannedSplit
from cbam_search.data.same_pictures import DIGEST_BYTES, SplitDigests
from cbam_search.data.wording import counted
from cbam_search.errors import DataError

_NAMED = 3
_BLOCK_BYTES = 2**22
_FEW = 0.05
_ENLARGED = 2.0
_CROPPED = 0.5
_DARK = 64
"""Of 255: where no pixel is brighter, the file's range is not that of its pixels."""
_OF_NOTHING = digest_item(None).digest
_COLOURS = ("red", "green", "blue")


@dataclass
class Seen:
    """How many images show a thing, and the first three by name."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: Callable[[], str]) -> None:
        self.count += 1
        if len(self.names) < _NAMED:
            self.names.append(name())

    @property
    def first(self) -> str:
        more = self.count - len(self.names)
        return f"{', '.join(self.names)} and {more:,} more" if more else ", ".join(self.names)


class Observations:
    """Of the train and validation splits together. height_width: the size that images are brought to, or None."""

    def __init__(self, height_width: tuple[int, int] | None) -> None:
        self._height_width = height_width
        self.total = 0  # decoded
        self.kept = 0  # of these, in no more protected split
        self.constant = Seen()
        self.constant_values: Counter[str] = Counter()
        self.constant_channel = Seen()
        self.channels: Counter[str] = Counter()
        self.colour = Seen()
        self.all_stored_in_colour = True
        self.channels_alike = True
        self.sixteen_bit = 0
        self.brightest_of_sixteen_bit = 0
        self.brightest = 0
        self.enlarged = Seen()
        self.cropped = Seen()

    def decoded(self, image: DecodedImage, name: Callable[[], str]) -> None:
        """One image whose pixels are there, before duplicates are taken out."""
        assert image.pixels is not None
        self.total += 1
        if image.is_grey:
            self.all_stored_in_colour = False
        else:
            self.colour.add(name)
        if image.is_16_bit:
            self.sixteen_bit += 1
            self.brightest_of_sixteen_bit = max(self.brightest_of_sixteen_bit, int(image.pixels.max()))
        if self._height_width is not None and image.size != self._height_width:
            self._resized(image.size, self._height_width, name)

    def _resized(self, size: tuple[int, int], wanted: tuple[int, int], name: Callable[[], str]) -> None:
        scale = max(wanted[0] / size[0], wanted[1] / size[1])
        if scale >= _ENLARGED:
            self.enlarged.add(lambda: f"{name()}, {size[0]} x {size[1]}")
        if wanted[0] * wanted[1] < _CROPPED * scale**2 * size[0] * size[1]:
            self.cropped.add(lambda: f"{name()}, {size[0]} x {size[1]}")

    def block(self, pixels: npt.NDArray[np.uint8], name: Callable[[int], str]) -> None:
        """pixels: (N, C, H, W) as training reads them. name: of the image at a place of the block."""
        self.kept += len(pixels)
        flat = pixels.reshape(*pixels.shape[:2], -1)
        low, high = flat.min(axis=2), flat.max(axis=2)  # (N, C)
        self.brightest = max(self.brightest, int(high.max(initial=0)))
        is_constant = low == high
        for place in np.flatnonzero(is_constant.any(axis=1)).tolist():
            if is_constant[place].all():
                self.constant.add(lambda place=place: name(place))  # type: ignore[misc]
                self.constant_values[_value(low[place])] += 1
            else:
                self.constant_channel.add(lambda place=place: name(place))  # type: ignore[misc]
                self.channels.update(_COLOURS[channel] for channel in np.flatnonzero(is_constant[place]).tolist())
        if self.channels_alike:
            self.channels_alike = bool((pixels == pixels[:, :1]).all())

    def refuse_all_constant(self) -> None:
        """Raises DataError where all images are constant: there is nothing to learn."""
        if self.kept and self.constant.count == self.kept:
            raise DataError(" ".join((f"{self._constant_note()}. There is nothing to learn.", *self._dark_notes())))

    def notes(self, channels: int) -> Iterator[str]:
        """channels: of the decoded images, 1 or 3."""
        if self.constant.count:
            yield f"{self._constant_note()}."
        if self.constant_channel.count:
            which = ", ".join(f"{colour} {number:,}" for colour, number in self.channels.most_common())
            of_all = f"{self.constant_channel.count:,} of {self.kept:,} images"
            yield f"{of_all} with a constant channel ({which}): {self.constant_channel.first}."
        yield from self._dark_notes()
        if channels == 3 and self.all_stored_in_colour and self.channels_alike:
            yield "All images are stored in colour, but are grey: dataset.channels: 1 trains faster and loses nothing."
        elif channels == 3 and self.colour.count <= _FEW * self.total:
            yield (
                f"Only {counted(self.colour.count, 'image')} of {self.total:,} in colour, and all became colour for them "
                f"({self.colour.first}). dataset.channels: 1 makes all grey."
            )
        if self._height_width is not None:
            yield from self._size_notes(self._height_width)

    def _constant_note(self) -> str:
        values = ", ".join(f"{number:,} {value}" for value, number in self.constant_values.most_common(_NAMED))
        of_all = f"{self.constant.count:,} of {self.kept:,} images constant"
        return f"{of_all}, every pixel of one value ({values}): {self.constant.first}"

    def _dark_notes(self) -> Iterator[str]:
        high = self.brightest_of_sixteen_bit
        if self.sixteen_bit and high < _DARK:
            yield (
                f"{counted(self.sixteen_bit, 'image')} of 16 bits with no value above {256 * high + 255:,} of 65,535 "
                f"({high.bit_length() + 8} bits or fewer): black or nearly so, since 65,535 is white. Save them as 8 bits, "
                "scaled from their own range to 0..255."
            )
        elif self.brightest < _DARK:
            yield (
                f"No pixel is brighter than {self.brightest} of 255: all images are dark. Are they masks, or scaled to another "
                "range?"
            )

    def _size_notes(self, wanted: tuple[int, int]) -> Iterator[str]:
        size = f"{wanted[0]} x {wanted[1]}"
        if self.enlarged.count > _FEW * self.total:
            yield (
                f"{self.enlarged.count:,} of {self.total:,} images were enlarged twofold or more to {size} "
                f"({self.enlarged.first}): a smaller image_size trains faster."
            )
        if self.cropped.count > _FEW * self.total:
            yield (
                f"Of {self.cropped.count:,} of {self.total:,} images more than half is cut off, since their shape is far from "
                f"{size} ({self.cropped.first})."
            )


def _value(channels: npt.NDArray[np.uint8]) -> str:
    if not channels.any():
        return "black"
    return "white" if (channels == 255).all() else "of another value"


class SplitWatch:
    """Watches one split while it is decoded into `images`, and keeps the digests of its images.

    images: (N, C, H, W), filled from the front.
    """

    def __init__(self, observations: Observations, planned: PlannedSplit, images: npt.NDArray[np.uint8]) -> None:
        self._observations = observations
        self._planned = planned
        self._images = images
        self._images_a_block = max(1, _BLOCK_BYTES // max(images[0].nbytes, 1)) if len(images) else 1
        self._places: list[int] = []
        self._looked_at = 0
        self._digests = bytearray()
        self._digest_places: list[int] = []

    def decoded(self, place: int, image: DecodedImage) -> None:
        """An image whose pixels are there. place: in the planned split."""
        self._observations.decoded(image, lambda: image_name(self._planned, place))
        if len(image.digest) == DIGEST_BYTES:
            self._digests += image.digest
            self._digest_places.append(place)

    def kept(self, place: int) -> None:
        """The image now lies behind the last one in `images`."""
        self._places.append(place)
        if len(self._places) - self._looked_at >= self._images_a_block:
            self.look()

    def look(self) -> None:
        """Look at those that were not looked at yet."""
        first, self._looked_at = self._looked_at, len(self._places)
        if self._looked_at > first:
            block = self._images[first : self._looked_at]
            self._observations.block(block, lambda place: image_name(self._planned, self._places[first + place]))

    def pictures(self) -> SplitDigests:
        """Looks at the rest of the images first: to be called once, at the end."""
        self.look()
        places = np.array(self._digest_places, dtype=np.int64)
        return SplitDigests(
            bytes(self._digests), self._planned.labels[places], lambda row: image_name(self._planned, int(places[row]))
        )


def digests_of_test(planned: PlannedSplit, digests: list[bytes]) -> SplitDigests:
    """Of the test images that are there."""
    places = [place for place, digest in enumerate(digests) if len(digest) == DIGEST_BYTES and digest != _OF_NOTHING]
    joined = b"".join(digests[place] for place in places)
    return SplitDigests(joined, planned.labels[places], lambda row: image_name(planned, places[row]))


def image_name(planned: PlannedSplit, place: int) -> str:
    """What the reader finds the image by. Where it is a file, the source is asked for it."""
    if planned.source.name is not None:
        return planned.name(place)
    item = next(iter(planned.source.read(planned.rows[place : place + 1])))
    return planned.name(place, item if isinstance(item, Path) else None)
