"""A one-time copy on disk of decoded, resized images, memory-mapped: for data sets that do not fit into memory.

A folder a key holds train.u8 and validation.u8 (raw uint8, (N, C, H, W)), their labels (.npy) and data.json. It is written
under a temporary name and renamed when complete, so that an entry is whole or not there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cbam_search.cache_folder import cache_folder
from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.data.ingest import UInt8Array
from cbam_search.errors import DataError, UserError
from cbam_search.safe_text import printable, reason

_FORMAT = 2
_SPLITS = ("train", "validation")
_CANNOT_RESERVE = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_ZEROS_BYTES = 2**22
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile)
"""What json and numpy raise at damaged files."""


def default_folder() -> Path:
    """Raises DataError where this user has no home folder, as in some containers."""
    try:
        return cache_folder("datasets")
    except UserError as error:
        raise DataError(f"Images do not fit into memory, and {error}, or set dataset.cache_folder.") from None


def cache_key(config: DatasetConfig, seed: int, identity: str) -> str:
    """SHA-256 over what decides pixels, labels and splits: settings, seed and the source's files."""
    settings = config.model_dump(mode="json", exclude={"memory_limit_gib", "cache_folder"})
    return hashlib.sha256(json.dumps([_FORMAT, settings, seed, identity], sort_keys=True).encode()).hexdigest()


def read_cache(entry: Path) -> ImageData | None:
    """The data of a cache entry, or None where there is none or its files do not have the recorded sizes."""
    try:
        stored = json.loads((entry / "data.json").read_text(encoding="utf-8"))
        classes = len(stored["class_names"])
        splits = {name: _open_split(entry, name, tuple(map(int, stored["shapes"][name])), classes) for name in _SPLITS}
        return ImageData(
            train=splits["train"],
            validation=splits["validation"],
            test_count=int(stored["test_count"]),
            class_names=tuple(map(str, stored["class_names"])),
            mean=tuple(map(float, stored["mean"])),
            std=tuple(map(float, stored["std"])),
            fingerprint=str(stored["fingerprint"]),
            storage="memory_mapped",
            notes=(*map(str, stored["notes"]), f"Images are streamed from the memory-mapped cache {entry}."),
        )
    except _DAMAGE:
        return None


class CacheWriter:
    """Arrays in a temporary folder beside the entry; `publish` makes it the entry, leaving the block without that drops it.

    Raises DataError where the folder cannot be written, or the disk is full.
    """

    def __init__(self, entry: Path, needed_bytes: int) -> None:
        self._entry = entry
        with _in_words(entry.parent):
            entry.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(entry.parent).free
        if free < needed_bytes:
            raise DataError(
                f"The memory-mapped cache needs {needed_bytes / 2**30:.1f} GiB in {entry.parent}, where "
                f"{free / 2**30:.1f} GiB are free. Set dataset.cache_folder to another disk, or a smaller image_size or limit."
            )

    def __enter__(self) -> CacheWriter:
        with _in_words(self._entry.parent):
            self._folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=self._entry.parent))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def allocate(self, name: str, shape: tuple[int, int, int, int]) -> UInt8Array:
        path = self._folder / f"{name}.u8"
        with _in_words(self._entry.parent):
            _reserve(path, int(np.prod(shape)))
            return np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)

    def publish(self, data: ImageData) -> None:
        with _in_words(self._entry.parent):
            self._write(data)
            self._rename()

    def _write(self, data: ImageData) -> None:
        for name, split in (("train", data.train), ("validation", data.validation)):
            assert isinstance(split.images, np.memmap)
            split.images.flush()
            os.truncate(self._folder / f"{name}.u8", split.images.nbytes)
            np.save(self._folder / f"{name}_labels.npy", split.labels)
        stored = {
            "shapes": {"train": data.train.images.shape, "validation": data.validation.images.shape},
            "test_count": data.test_count,
            "class_names": data.class_names,
            "mean": data.mean,
            "std": data.std,
            "fingerprint": data.fingerprint,
            "notes": data.notes,
        }
        (self._folder / "data.json").write_text(json.dumps(stored, indent=1), encoding="utf-8")
        self._folder.chmod(0o755)

    def _rename(self) -> None:
        try:
            self._folder.rename(self._entry)
        except OSError:  # there is one: of a process that was quicker, as good as this, or a damaged one
            if read_cache(self._entry) is None:
                damaged = self._entry.rename(self._folder.with_suffix(".damaged"))
                self._folder.rename(self._entry)
                if damaged.is_dir():
                    shutil.rmtree(damaged, ignore_errors=True)
                else:
                    damaged.unlink()


def _reserve(path: Path, n_bytes: int) -> None:
    """A file of that size whose place on the disk is certain: a full disk under a mapped file would kill the process."""
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _CANNOT_RESERVE:
                raise
            for written in range(0, n_bytes, _ZEROS_BYTES):
                file.write(bytes(min(_ZEROS_BYTES, n_bytes - written)))


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise DataError(
            f"The memory-mapped cache in {printable(folder, limit=1000)} cannot be written: {reason(error)}. "
            "Set dataset.cache_folder to a folder on another disk, or raise memory_limit_gib."
        ) from error


def _open_split(entry: Path, name: str, shape: tuple[int, ...], classes: int) -> ImageSplit:
    path = entry / f"{name}.u8"
    labels = np.load(entry / f"{name}_labels.npy", allow_pickle=False)
    if path.stat().st_size != int(np.prod(shape)) or labels.shape != shape[:1]:
        raise ValueError(f"{path} does not have the recorded size")
    if labels.dtype != np.int64 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{entry} has labels without a class")
    return ImageSplit(np.memmap(path, dtype=np.uint8, mode="r", shape=shape), labels)
