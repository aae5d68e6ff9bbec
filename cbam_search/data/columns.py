"""Which columns of a table hold images, labels and groups, and how an image column is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cbam_search.data.config import DatasetConfig
from cbam_search.data.source import Item
from cbam_search.errors import DataError

_IMAGE_NAMES = ("image", "img")
_LABEL_NAMES = ("label", "labels", "class", "target", "category", "y")


@dataclass(frozen=True)
class Columns:
    """Names of the columns in use. label_names: from the features, where they have them."""

    image: str
    label: str
    group: str | None
    label_names: tuple[str, ...] | None

    @property
    def without_images(self) -> list[str]:
        return [self.label] if self.group is None else [self.label, self.group]


def find_columns(schema: pa.Schema, features: Mapping[str, Any], config: DatasetConfig) -> Columns:
    """Use the columns that the config names, else find them by type, then by name.

    features: as the Hugging Face metadata has them, {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", ...}}.
    Raises DataError, with the columns there are, where none or several come into question.
    """
    image = _choose("image", config.image_column, _of_type(features, "Image") or _image_like(schema), _IMAGE_NAMES, schema)
    if not _is_image(schema.field(image).type):
        raise DataError(f"Column '{image}' holds {schema.field(image).type}; images are bytes, or a struct of bytes and path.")
    label = _choose("label", config.label_column, _of_type(features, "ClassLabel") or schema.names, _LABEL_NAMES, schema)
    group = config.group_column
    if group is not None and group not in schema.names:
        raise DataError(f"There is no group column '{group}'. Columns: {', '.join(schema.names)}.")
    for role, name in (("label", label), ("group", group)):
        if name is not None and pa.types.is_nested(schema.field(name).type):
            raise DataError(f"The {role} column '{name}' holds {schema.field(name).type}; it must hold one value an image.")
    feature = features.get(label)
    names = feature.get("names") if isinstance(feature, Mapping) else None
    return Columns(image, label, group, tuple(map(str, names)) if names else None)


def image_items(column: pa.Array, *folders: Path) -> Iterator[Item | None]:
    """The images of one column chunk. An image given by path alone is read only from inside one of `folders`."""
    if not pa.types.is_struct(column.type):
        yield from column.to_pylist()
        return
    contents = column.field("bytes").to_pylist()
    has_paths = column.type.get_field_index("path") >= 0
    paths = column.field("path").to_pylist() if has_paths else [None] * len(contents)
    for content, path in zip(contents, paths, strict=True):
        yield content if content is not None or path is None else _inside(folders, path)


def _inside(folders: tuple[Path, ...], path: str) -> Path | None:
    resolved = (folders[0] / path).resolve()
    return resolved if any(resolved.is_relative_to(folder.resolve()) for folder in folders) else None


def _choose(role: str, given: str | None, candidates: list[str], usual: tuple[str, ...], schema: pa.Schema) -> str:
    if given is not None:
        if given in schema.names:
            return given
        raise DataError(f"There is no {role} column '{given}'. Columns: {', '.join(schema.names)}.")
    if len(candidates) == 1 and candidates != schema.names:
        return candidates[0]
    for name in usual:
        if name in candidates:
            return name
    asked = ", ".join(candidates if candidates != schema.names else schema.names) or ", ".join(schema.names)
    raise DataError(f"The {role} column is not clear; set `{role}_column` to one of: {asked}.")


def _of_type(features: Mapping[str, Any], kind: str) -> list[str]:
    return [name for name, feature in features.items() if isinstance(feature, Mapping) and feature.get("_type") == kind]


def _image_like(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_image(field.type)]


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
