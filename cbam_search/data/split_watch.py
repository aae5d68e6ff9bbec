"""One split while it is decoded: its images are passed on to `Observations` in blocks, and their digests are kept.

Legend: N images, C channels, H height, W width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cbam_search.data.decoding import DecodedImage, digest_item
from cbam_search.data.observations import Observations
from cbam_search.data.planning import PlannedSplit
from cbam_search.data.same_pictures import DIGEST_BYTES, SplitDigests

_BLOCK_BYTES = 2**22
_OF_NOTHING = digest_item(None).digest


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
