"""What decoded images show that is probably not meant: constant, dark, enlarged or cropped pictures.

Constant images are looked for in blocks of decoded pixels, so that an image costs no call of its own.
Legend: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from cbam_search.counted import counted
from cbam_search.data.decoding import DecodedImage
from cbam_search.data.examples import Examples
from cbam_search.errors import DataError

_FEW = 0.05
_ENLARGED = 2.0
_CROPPED = 0.5
_DARK = 64
"""Of 255: where no pixel is brighter, the file's range is not that of its pixels."""
_COLOURS = ("red", "green", "blue")


class Observations:
    """Of the train and validation splits together. height_width: the size that images are brought to, or None."""

    def __init__(self, height_width: tuple[int, int] | None) -> None:
        self._height_width = height_width
        self.total = 0  # decoded
        self.kept = 0  # of these, in no more protected split
        self.constant = Examples()
        self.constant_values: Counter[str] = Counter()
        self.constant_channel = Examples()
        self.channels: Counter[str] = Counter()
        self.colour = Examples()
        self.all_stored_in_colour = True
        self.channels_alike = True
        self.sixteen_bit = 0
        self.brightest_of_sixteen_bit = 0
        self.brightest = 0
        self.enlarged = Examples()
        self.cropped = Examples()

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
                self.constant.add(partial(name, place))
                self.constant_values[_value(low[place])] += 1
            else:
                self.constant_channel.add(partial(name, place))
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
            yield f"{of_all} with a constant channel ({which}): {self.constant_channel}."
        yield from self._dark_notes()
        if channels == 3 and self.all_stored_in_colour and self.channels_alike:
            yield "All images are stored in colour, but are grey: dataset.channels: 1 trains faster and loses nothing."
        elif channels == 3 and self.colour.count <= _FEW * self.total:
            yield (
                f"Only {counted(self.colour.count, 'image')} of {self.total:,} in colour, and all became colour for them "
                f"({self.colour}). dataset.channels: 1 makes all grey."
            )
        if self._height_width is not None:
            yield from self._size_notes(self._height_width)

    def _constant_note(self) -> str:
        values = ", ".join(f"{number:,} {value}" for value, number in self.constant_values.most_common())
        are = "is" if self.constant.count == 1 else "are"
        of_all = f"{self.constant.count:,} of {self.kept:,} images {are} constant"
        return f"{of_all}, every pixel of one value ({values}): {self.constant}"

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
                f"({self.enlarged}): a smaller image_size trains faster."
            )
        if self.cropped.count > _FEW * self.total:
            yield (
                f"Of {self.cropped.count:,} of {self.total:,} images more than half is cut off, since their shape is far from "
                f"{size} ({self.cropped})."
            )


def _value(channels: npt.NDArray[np.uint8]) -> str:
    if not channels.any():
        return "black"
    return "white" if (channels == 255).all() else "neither black nor white"
