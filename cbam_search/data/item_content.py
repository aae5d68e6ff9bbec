"""The encoded bytes or the pixels of one image of a source, and the digest by which the same image is found again."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbam_search.data.source import Item, NoImage

_LARGEST_FILE_BYTES = 2**31  # a picture of the most pixels that Pillow opens takes less, in any format


def content_of(item: Item | None) -> bytes | npt.NDArray[Any]:
    """Empty where there is no image; raises OSError for a path that leads to no file of a picture's size."""
    if item is None or isinstance(item, NoImage):
        return b""
    if not isinstance(item, Path):
        return item
    status = item.stat()
    if stat.S_ISDIR(status.st_mode):
        raise OSError("it is a folder")
    if not stat.S_ISREG(status.st_mode):  # a pipe: nobody may ever write to it
        raise OSError("it is no file")
    if status.st_size > _LARGEST_FILE_BYTES:
        raise OSError(f"the file has {status.st_size / 2**30:.1f} GiB, more than a picture can have")
    return item.read_bytes()


def digest_of(content: bytes | npt.NDArray[Any]) -> bytes:
    """16 bytes that stand for the encoded file, or for the pixels of an array."""
    hasher = hashlib.blake2b(digest_size=16)
    if isinstance(content, np.ndarray):
        hasher.update(str(content.shape).encode())
        content = content.tobytes()
    hasher.update(content)
    return hasher.digest()
