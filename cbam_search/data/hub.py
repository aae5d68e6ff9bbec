"""Data sets of the Hugging Face hub, through the `datasets` library.

No code of a data set is run: from version 4 on, `datasets` refuses loading scripts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from cbam_search.data.columns import Columns, find_columns, image_items
from cbam_search.data.config import DatasetConfig
from cbam_search.data.hub_contact import bounded_download, reason_with_root, unreachable
from cbam_search.data.source import IntArray, Item, Source, SourceSplit, recognise_splits
from cbam_search.errors import DataError

if TYPE_CHECKING:
    import datasets

_BATCH_ROWS = 256
_BATCH_BYTES = 2**24


def open_hub(config: DatasetConfig) -> Source:
    """Download (or take from the local Hugging Face cache) the data set `config.name`.

    Raises DataError where the hub cannot be reached, the name is unknown or private, or the subset is not clear.
    """
    assert config.name is not None
    if os.path.lexists(config.name):
        raise DataError(
            f"'{config.name}' is also a file or folder here, which would be read in place of the hub. Run from another "
            "folder, write the name as owner/name, or use `source: parquet` or `source: image_folder`."
        )
    found, notes = _download(config)
    try:
        source = source_of(found, config)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(config, error) from error
    return replace(source, notes=(*notes, *source.notes))


def source_of(found: datasets.DatasetDict, config: DatasetConfig) -> Source:
    """A Source over the splits of a `datasets.DatasetDict`."""
    splits, notes = recognise_splits(dict(found))
    train = splits["train"]
    columns = find_columns(train.features.arrow_schema, train.features.to_dict(), config)
    for name, split in splits.items():
        if columns.image not in split.column_names or columns.label not in split.column_names:
            notes += (f"The source's {name} split lacks images or labels and is left unused.",)
    return Source(
        splits={
            name: _split(name, split, columns, config)
            for name, split in splits.items()
            if {columns.image, columns.label} <= set(split.column_names)
        },
        identity="\n".join(f"{name} {split._fingerprint}" for name, split in splits.items()),
        label_names=columns.label_names,
        notes=notes,
    )


def _download(config: DatasetConfig) -> tuple[datasets.DatasetDict, tuple[str, ...]]:
    """The data set, and a note where only an older copy can be had."""
    assert config.name is not None
    absence = ""
    try:
        import datasets
        from huggingface_hub import constants

        is_offline = datasets.config.HF_HUB_OFFLINE or constants.HF_HUB_OFFLINE
        absence = "offline mode is set (HF_HUB_OFFLINE)" if is_offline else unreachable(config.name)
        with bounded_download(offline=bool(absence)):
            found = datasets.load_dataset(config.name, config.subset, revision=config.revision)
    except Exception as error:  # of `datasets`, of the network, of the disk
        problem = absence or reason_with_root(error)
        advice = (
            "Check the name, the subset and the network (HF_ENDPOINT, proxies), log in for a private one with `hf auth login`"
        )
        if absence:
            advice = "No copy of it was downloaded before that could be used. Check the network (HF_ENDPOINT, proxies)"
        raise DataError(
            f"The data set '{config.name}' could not be loaded from the Hugging Face hub: {problem}.\n"
            f"{advice}, or download its parquet files and use `source: parquet`."
        ) from error
    note = f"The Hugging Face hub was not asked for a newer '{config.name}' ({absence}): the copy downloaded before is used."
    return found, (note,) if absence else ()


def _unreadable(config: DatasetConfig, error: BaseException) -> DataError:
    return DataError(
        f"The downloaded copy of the data set '{config.name}' cannot be read: {reason_with_root(error)}. Delete it from the "
        "cache of Hugging Face (HF_HOME, by default ~/.cache/huggingface) and start again."
    )


def _split(name: str, split: datasets.Dataset, columns: Columns, config: DatasetConfig) -> SourceSplit:
    table = split.select_columns([column for column in columns.without_images if column in split.column_names])
    arrays = {column: table.with_format("arrow")[:][column].to_numpy() for column in table.column_names}
    return SourceSplit(
        labels=arrays[columns.label],
        groups=arrays.get(columns.group) if columns.group else None,
        read=partial(_read, split.select_columns([columns.image]).with_format("arrow"), config),
        name=lambda row: f"{config.name} {name}[{row}]",
    )


def _read(images: datasets.Dataset, config: DatasetConfig, rows: IntArray) -> Iterator[Item | None]:
    from datasets import config as places
    from huggingface_hub import constants

    batch_rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES * len(images) // max(images.data.nbytes, 1)))
    try:
        for table in images.select(rows).iter(batch_size=batch_rows):
            for chunk in table.column(0).chunks:
                yield from image_items(chunk, Path(constants.HF_HUB_CACHE), places.HF_DATASETS_CACHE)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise _unreadable(config, error) from error
