"""Data sets of the Hugging Face hub, through the `datasets` library.

No code of a data set is run: from version 4 on, `datasets` refuses loading scripts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cbam_search.data.columns import Columns, find_columns, image_items
from cbam_search.data.config import DatasetConfig
from cbam_search.data.source import IntArray, Item, Source, SourceSplit, recognise_splits
from cbam_search.errors import DataError

if TYPE_CHECKING:
    import datasets

_BATCH_ROWS = 256


def open_hub(config: DatasetConfig) -> Source:
    """Download (or take from the local Hugging Face cache) the data set `config.name`.

    Raises DataError where the hub cannot be reached, the name is unknown or private, or the subset is not clear.
    """
    assert config.name is not None
    if Path(config.name).exists():
        raise DataError(
            f"'{config.name}' is also a file or folder here, which would be read in place of the hub. Run from another "
            "folder, write the name as owner/name, or use `source: parquet` or `source: image_folder`."
        )
    return source_of(_download(config), config)


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
            name: _split(split, columns)
            for name, split in splits.items()
            if {columns.image, columns.label} <= set(split.column_names)
        },
        identity="\n".join(f"{name} {split._fingerprint}" for name, split in splits.items()),
        label_names=columns.label_names,
        notes=notes,
    )


def _download(config: DatasetConfig) -> datasets.DatasetDict:
    import datasets
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar

    disable_progress_bar()
    try:
        return datasets.load_dataset(config.name, config.subset, revision=config.revision)
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"The data set '{config.name}' could not be loaded from the Hugging Face hub: {error}\n"
            "Check the name, the subset and the network (HF_ENDPOINT, proxies), log in for a private one with "
            "`hf auth login`, or download its parquet files and use `source: parquet`."
        ) from error
    finally:
        enable_progress_bar()


def _split(split: datasets.Dataset, columns: Columns) -> SourceSplit:
    table = split.select_columns([name for name in columns.without_images if name in split.column_names])
    arrays = {name: table.with_format("arrow")[:][name].to_numpy() for name in table.column_names}
    return SourceSplit(
        labels=arrays[columns.label],
        groups=arrays.get(columns.group) if columns.group else None,
        read=partial(_read, split.select_columns([columns.image]).with_format("arrow")),
    )


def _read(images: datasets.Dataset, rows: IntArray) -> Iterator[Item | None]:
    from datasets import config
    from huggingface_hub import constants

    for table in images.select(rows).iter(batch_size=_BATCH_ROWS):
        for chunk in table.column(0).chunks:
            yield from image_items(chunk, Path(constants.HF_HUB_CACHE), config.HF_DATASETS_CACHE)
