"""Mean and standard deviation of the training pixels, and all pixels and labels for a fingerprint, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from cbam_search.data.images import ImageSplit

_PIECE_BYTES = 2**22  # numpy counts in 64-bit integers: eight times as much


def measure(
    splits: dict[str, ImageSplit], update: Callable[[bytes | memoryview], object]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Pass shapes, labels and pixels of all splits to `update`; return (mean, std) of the training pixels a channel, on [0, 1].

    Counting each of the 256 values makes the figures exact, whatever the order. A constant channel has std 1/255, so that
    dividing by it stays finite.
    """
    counts = np.zeros((splits["train"].images.shape[1], 256))
    for name, split in splits.items():
        update(f"\n{name} {split.images.shape}\n".encode())
        update(split.labels.astype("<i8").tobytes())
        images_at_once = max(1, _PIECE_BYTES // split.images[0].nbytes)
        for start in range(0, len(split), images_at_once):
            chunk = split.images[start : start + images_at_once]
            update(np.ascontiguousarray(chunk).data)
            if name == "train":
                counts += [_counted(chunk[:, channel]) for channel in range(len(counts))]
    shares = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = shares @ values
    variance = np.maximum(shares @ values**2 - mean**2, 0)
    return tuple(mean.tolist()), tuple(np.maximum(np.sqrt(variance), 1 / 255).tolist())


def _counted(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each of the 256 values occurs. pixels: of any shape."""
    flat = pixels.ravel()
    pieces: Iterable[npt.NDArray[np.uint8]] = (flat[at : at + _PIECE_BYTES] for at in range(0, flat.size, _PIECE_BYTES))
    counts: npt.NDArray[np.int64] = np.sum([np.bincount(piece, minlength=256) for piece in pieces], axis=0)
    return counts
