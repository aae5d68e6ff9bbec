"""Images from a user's own Python function, `package.module:function`, which only --allow-code lets run.

The function is called once, without arguments; its module is found on the Python path or in the current folder.
It returns a tuple (images, labels) or a dictionary:

    images       (N, H, W), (N, H, W, 1), (N, H, W, 3) or (N, H, W, 4), uint8 or uint16, an array or a np.memmap
    labels       (N,) integers from 0 on, or strings; negative, NaN, None and "" are missing
    groups       (N,), optional: images of equal values stay together when a split is carved
    splits       (N,), optional: "train", "validation" or "test" for each image
    class_names  optional: the name of label i at place i
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbam_search.data.config import DatasetConfig
from cbam_search.data.source import IntArray, Item, Source, SourceSplit, recognise_splits
from cbam_search.errors import DataError
from cbam_search.own_code import NO_CODE, CodePermission, in_words
from cbam_search.own_source import check_found, importing_from
from cbam_search.safe_text import printable, reason

_KEYS = ("images", "labels", "groups", "splits", "class_names")


def open_function(config: DatasetConfig, *, code: CodePermission = NO_CODE) -> Source:
    """Call the function and take what it returns.

    Raises CodeNotAllowedError without permission, before anything is imported; OwnCodeError where the module is not found, or
    another one of its name is found first; DataError where it has no such function, or that raises or returns something else
    than documented.
    """
    assert config.function is not None
    folder = code.require(f"The data come from the Python function {config.function}.")
    returned = _call(config.function, folder)
    if isinstance(returned, tuple) and len(returned) == 2:
        returned = {"images": returned[0], "labels": returned[1]}
    if not isinstance(returned, Mapping) or not {"images", "labels"} <= set(returned) <= set(_KEYS):
        raise DataError(
            f"{config.function} must return (images, labels) or a dictionary of: {', '.join(_KEYS)}; what it returned is "
            f"{_described(returned)}."
        )
    return _source(config.function, returned)


def array_split(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], groups: npt.NDArray[Any] | None = None, rows: IntArray | None = None
) -> SourceSplit:
    """A split over an array of images; `rows` takes some of them. images: (N, H, W[, C]) uint8 or uint16."""
    chosen = np.arange(len(images), dtype=np.int64) if rows is None else rows

    def read(wanted: IntArray) -> Iterator[Item]:
        return (images[row] for row in chosen[wanted])

    return SourceSplit(
        labels=labels[chosen],
        groups=None if groups is None else groups[chosen],
        read=read,
        name=lambda row: f"images[{chosen[row]}]",
    )


def _call(name: str, folder: Path) -> object:
    module_name, function_name = name.split(":")
    check_found(module_name, folder)
    try:
        with importing_from(folder):
            function = getattr(importlib.import_module(module_name), function_name)
            return function()
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # an exit, and panics of compiled code, are no Exception
        raise DataError(f"The data function {name} failed: {printable(in_words(error), limit=1000)}") from error


def _source(name: str, returned: Mapping[str, Any]) -> Source:
    images = _images(name, returned)
    labels = _column(name, returned, "labels", len(images))
    groups = _column(name, returned, "groups", len(images)) if returned.get("groups") is not None else None
    names = np.full(len(images), "train")
    if returned.get("splits") is not None:
        names = _column(name, returned, "splits", len(images)).astype(str)
    rows = {str(split): np.flatnonzero(names == split).astype(np.int64) for split in np.unique(names)}
    splits, notes = recognise_splits({split: array_split(images, labels, groups, row) for split, row in rows.items()})
    class_names = _class_names(name, returned)
    described = [class_names, *(None if column is None else column.tolist() for column in (labels, groups, names))]
    return Source(
        splits=splits,
        identity=f"{name} {_pixel_digest(images)} {described}",
        label_names=class_names,
        notes=notes,
    )


def _images(name: str, returned: Mapping[str, Any]) -> npt.NDArray[Any]:
    images = _array(name, returned, "images")
    if images.dtype not in (np.uint8, np.uint16) or images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,), (4,)):
        odd = _odd_one(images) if images.dtype == object and images.ndim == 1 else ""
        raise DataError(
            f"{name}: images are {images.dtype} of shape {images.shape}{odd}; they must be uint8 or uint16 of shape "
            "(N, H, W) or (N, H, W, C) with C of 1, 3 or 4."
        )
    if 0 in images.shape:
        raise DataError(f"{name}: there is nothing in images of shape {images.shape}.")
    return images


def _pixel_digest(images: npt.NDArray[Any]) -> str:
    """SHA-256 of the pixels, image by image: the whole array may be larger than the memory."""
    hasher = hashlib.sha256()
    for image in images:
        hasher.update(np.ascontiguousarray(image).data)
    return hasher.hexdigest()


def _class_names(name: str, returned: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = returned.get("class_names")
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise DataError(f"{name}: class_names are {_described(names)}; they must be a list of words.")
    return tuple(map(str, names))


def _column(name: str, returned: Mapping[str, Any], key: str, count: int) -> npt.NDArray[Any]:
    values = _array(name, returned, key)
    if values.shape != (count,):
        raise DataError(f"{name}: {key} has shape {values.shape}; one value an image is ({count},).")
    return values


def _array(name: str, returned: Mapping[str, Any], key: str) -> npt.NDArray[Any]:
    values = returned[key]
    try:
        return np.asanyarray(values)
    except Exception as error:  # a user's own class may raise anything
        odd = _odd_one(values) if isinstance(values, Sequence) else ""
        raise DataError(f"{name}: {key} cannot be made one array: {reason(error)}{odd}") from error


def _odd_one(values: Iterable[Any]) -> str:
    """The first element that is unlike the one before it, and what both are."""
    before = None
    for place, value in enumerate(values):
        described = _described(value)
        if before is not None and described != before:
            return f" ([{place - 1}] is {before}, [{place}] is {described})"
        before = described
    return f" (each is {before})" if before else ""


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"of type {type(value).__name__}"
