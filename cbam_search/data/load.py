"""`load`: from the `dataset:` section to decoded images of train and validation."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from cbam_search.data.cache import CacheWriter, cache_key, default_folder, read_cache
from cbam_search.data.class_counts import class_notes, refuse_lost_classes
from cbam_search.data.config import DatasetConfig
from cbam_search.data.decoding import decode_item, no_warnings_of_pillow
from cbam_search.data.digits import open_digits
from cbam_search.data.examples import Examples
from cbam_search.data.function import open_function
from cbam_search.data.hub import open_hub
from cbam_search.data.image_folder import open_image_folder
from cbam_search.data.images import ImageData
from cbam_search.data.ingest import Allocate, ColourFoundError, PixelFormat, UInt8Array, ingest
from cbam_search.data.parquet import open_parquet
from cbam_search.data.planning import SplitPlan, plan_splits
from cbam_search.data.source import Source
from cbam_search.errors import DataError
from cbam_search.own_code import NO_CODE, CodePermission

_PROBED_IMAGES = 64
_MEMORY_SHARE = 0.25  # the driver's copy and the one in Ray's object store must both fit, with room to work


def load(config: DatasetConfig, *, seed: int, code: CodePermission = NO_CODE) -> ImageData:
    """Open the source, decide the splits, and decode train and validation.

    Paths in `config` are taken as they are (see DatasetConfig.resolved). seed: of carved splits and of `limit`. code:
    whether `source: function` may run. Decoded images stay in memory up to `memory_limit_gib`; larger ones go to a
    memory-mapped cache, made once and used again while config, seed and source files stay the same.
    Raises DataError for images or labels that cannot be used; CodeNotAllowedError.
    """
    source = open_source(config, code=code)
    plan = plan_splits(source, config, seed)
    refuse_lost_classes(plan.class_names, {name: split.labels for name, split in plan.splits.items()})
    pixel_format = _probe(plan, config)
    with suppress(ColourFoundError):
        return _decode(source, plan, pixel_format, config, seed)
    # Outside of the block: an error that is being handled keeps the grey images in memory.
    return _decode(source, plan, replace(pixel_format, channels=3, colour_allowed=True), config, seed)


def open_source(config: DatasetConfig, *, code: CodePermission = NO_CODE) -> Source:
    """The images that `dataset.source` names; raises DataError, CodeNotAllowedError."""
    if config.unset_variables:
        raise DataError(f"dataset names environment variables that are not set: {', '.join(config.unset_variables)}")
    match config.source:
        case "digits":
            return open_digits()
        case "hub":
            return open_hub(config)
        case "parquet":
            return open_parquet(config)
        case "image_folder":
            return open_image_folder(config)
        case "function":
            return open_function(config, code=code)


def _probe(plan: SplitPlan, config: DatasetConfig) -> PixelFormat:
    """Size and channels from the config, else from the first training images that can be decoded."""
    planned = plan.splits["train"]
    problems = Examples()
    size: tuple[int, int] | None = None
    all_grey = True
    with no_warnings_of_pillow():
        for place, item in enumerate(islice(planned.items(), _PROBED_IMAGES)):
            image = decode_item(item, 3, config.height_width)
            if image.pixels is None:
                problems.add(partial(planned.name, place, image.path), image.problem)
                continue
            size = size or (image.pixels.shape[0], image.pixels.shape[1])
            all_grey &= image.is_grey
            del image  # before the next one is decoded
    if size is None:
        first = f"first {problems.count} " if problems.count < len(planned) else f"{problems.count} "
        raise DataError(f"None of the {first}training images can be decoded: {problems}.")
    channels = config.channels
    if channels == "auto":
        channels = 1 if all_grey else 3
    return PixelFormat(
        channels=channels,
        height=size[0],
        width=size[1],
        resize=config.height_width is not None,
        colour_allowed=channels == 3 or config.channels == 1,
    )


def _decode(source: Source, plan: SplitPlan, pixel_format: PixelFormat, config: DatasetConfig, seed: int) -> ImageData:
    count = len(plan.splits["train"]) + len(plan.splits["validation"])
    needed_bytes = count * pixel_format.image_bytes
    limit_bytes = config.memory_limit_gib * 2**30 if config.memory_limit_gib else _MEMORY_SHARE * machine_memory_bytes()
    needed = f"{needed_bytes / 2**30:.2g} GiB of decoded images, limit {limit_bytes / 2**30:.2g} GiB"
    if needed_bytes <= limit_bytes:
        return _image_data(plan, pixel_format, config, _in_memory, limit_bytes, f"Images are held in memory ({needed}).")
    folder = Path(config.cache_folder) if config.cache_folder else default_folder()
    entry = folder / cache_key(config, seed, source.identity)[:32]
    if (cached := read_cache(entry)) is not None:
        return cached
    with CacheWriter(entry, needed_bytes) as writer:
        note = f"Images do not fit into memory ({needed})."
        writer.publish(_image_data(plan, pixel_format, config, writer.allocate, limit_bytes, note))
        written = read_cache(entry)
    if written is None:
        raise DataError(f"The memory-mapped cache {entry} could not be read back.")
    return written


def _in_memory(name: str, shape: tuple[int, int, int, int]) -> UInt8Array:  # noqa: ARG001 - one signature with the cache
    return np.empty(shape, dtype=np.uint8)


def _image_data(
    plan: SplitPlan,
    pixel_format: PixelFormat,
    config: DatasetConfig,
    allocate: Allocate,
    limit_bytes: float,
    storage_note: str,
) -> ImageData:
    ingested = ingest(plan, pixel_format, config.max_corrupt_fraction, allocate, limit_bytes=limit_bytes)
    labels = {"train": ingested.train.labels, "validation": ingested.validation.labels}
    if "test" in plan.splits:
        labels["test"] = plan.splits["test"].labels
    return ImageData(
        train=ingested.train,
        validation=ingested.validation,
        test_count=len(plan.splits.get("test", ())),
        class_names=plan.class_names,
        mean=ingested.mean,
        std=ingested.std,
        fingerprint=ingested.fingerprint,
        storage="memory" if allocate is _in_memory else "memory_mapped",
        notes=(*class_notes(plan.class_names, labels), *plan.notes, *ingested.notes, storage_note),
    )


def machine_memory_bytes() -> int:
    """Memory of this machine, or of its container (control group version 2) where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return physical
