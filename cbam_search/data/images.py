"""What training reads: decoded images of two splits, and what was noticed while decoding them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ImageSplit:
    """Images of one split, in memory or memory-mapped.

    images: (N, C, H, W) uint8, C-contiguous. labels: (N,) int64, in 0..classes - 1.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Any, ...]:
        """Memory-mapped images travel to workers as the path of their file, not as their content."""
        if isinstance(self.images, np.memmap):
            return _reopen, (self.images.filename, self.images.shape, self.labels)
        return ImageSplit, (self.images, self.labels)


def _reopen(file: str, shape: tuple[int, ...], labels: npt.NDArray[np.int64]) -> ImageSplit:
    return ImageSplit(np.memmap(file, np.uint8, "r", shape=shape), labels)


@dataclass(frozen=True)
class ImageData:
    """The two splits that a search may see. The test split is only counted.

    mean, std: one figure a channel over the training split, of pixels scaled to [0, 1].
    fingerprint: SHA-256 over pixels, labels and splits. notes: one sentence a finding, for the reader.
    """

    train: ImageSplit
    validation: ImageSplit
    test_count: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    storage: Literal["memory", "memory_mapped"]
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def channels(self) -> int:
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.train.images.shape[2]), int(self.train.images.shape[3])
