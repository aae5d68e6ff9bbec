"""A one-time copy on disk of decoded, resized images, memory-mapped: for data sets that do not fit into memory.

A folder a key holds train.u8 and validation.u8 (raw uint8, (N, C, H, W)), their labels (.npy) and data.json. It is written
under a temporary name and renamed when complete, so that an entry is whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from cbam_search.cache_folder import cache_folder
from cbam_search.data.config import DatasetConfig
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.data.ingest import UInt8Array
from cbam_search.errors import DataError

_FORMAT = 2
_SPLITS = ("train", "validation")


def default_folder() -> Path:
    return cache_folder("datasets")


def cache_key(config: DatasetConfig, seed: int, identity: str) -> str:
    """SHA-256 over what decides pixels, labels and splits: settings, seed and the source's files."""
    settings = config.model_dump(mode="json", exclude={"memory_limit_gib", "cache_folder"})
    return hashlib.sha256(json.dumps([_FORMAT, settings, seed, identity], sort_keys=True).encode()).hexdigest()


def read_cache(entry: Path) -> ImageData | None:
    """The data of a cache entry, or None where there is none or its files do not have the recorded sizes."""
    try:
        stored = json.loads((entry / "data.json").read_text(encoding="utf-8"))
        splits = {name: _open_split(entry, name, tuple(stored["shapes"][name])) for name in _SPLITS}
    except (OSError, EOFError, ValueError, KeyError):  # EOFError: numpy's, at an empty file
        return None
    return ImageData(
        train=splits["train"],
        validation=splits["validation"],
        test_count=stored["test_count"],
        class_names=tuple(stored["class_names"]),
        mean=tuple(stored["mean"]),
        std=tuple(stored["std"]),
        fingerprint=stored["fingerprint"],
        storage="memory_mapped",
        notes=(*stored["notes"], f"Images are streamed from the memory-mapped cache {entry}."),
    )


class CacheWriter:
    """Arrays in a temporary folder beside the entry; `publish` makes it the entry, leaving the block without that drops it."""

    def __init__(self, entry: Path, needed_bytes: int) -> None:
        self._entry = entry
        entry.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(entry.parent).free
        if free < needed_bytes:
            raise DataError(
                f"The memory-mapped cache needs {needed_bytes / 2**30:.1f} GiB in {entry.parent}, where "
                f"{free / 2**30:.1f} GiB are free. Set dataset.cache_folder to another disk, or a smaller image_size or limit."
            )

    def __enter__(self) -> CacheWriter:
        self._folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=self._entry.parent))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def allocate(self, name: str, shape: tuple[int, int, int, int]) -> UInt8Array:
        return np.memmap(self._folder / f"{name}.u8", dtype=np.uint8, mode="w+", shape=shape)

    def publish(self, data: ImageData) -> None:
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
        try:
            self._folder.rename(self._entry)
        except OSError:  # there is one: of a process that was quicker, as good as this, or a damaged one
            if read_cache(self._entry) is None:
                damaged = self._entry.rename(self._folder.with_suffix(".damaged"))
                self._folder.rename(self._entry)
                shutil.rmtree(damaged, ignore_errors=True)


def _open_split(entry: Path, name: str, shape: tuple[int, int, int, int]) -> ImageSplit:
    path = entry / f"{name}.u8"
    labels = np.load(entry / f"{name}_labels.npy", allow_pickle=False)
    if path.stat().st_size != int(np.prod(shape)) or len(labels) != shape[0]:
        raise ValueError(f"{path} does not have the recorded size")
    return ImageSplit(np.memmap(path, dtype=np.uint8, mode="r", shape=shape), labels)
