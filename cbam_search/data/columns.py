"""Which columns of a table hold images, labels and groups, and how an image column is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cbam_search.data.config import DatasetConfig
from cbam_search.data.source import Item, NoImage
from cbam_search.errors import DataError
from cbam_search.safe_text import printable, reason

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
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise DataError(f"There are several columns '{printable(name)}'. Give each a name of its own.")
    of_images = _of_type(features, "Image") or _image_like(schema)
    if not of_images and config.image_column is None:
        raise DataError(
            f"No column holds images, as bytes or as a struct of bytes and path. Columns: {_listed_types(schema)}."
            f"{_instead(schema)}"
        )
    image = _choose("image", config.image_column, of_images, _IMAGE_NAMES, schema)
    label = _choose("label", config.label_column, _of_type(features, "ClassLabel") or schema.names, _LABEL_NAMES, schema)
    group = config.group_column
    if group is not None and group not in schema.names:
        raise DataError(f"There is no group column '{group}'. Columns: {_listed(schema.names)}.")
    feature = features.get(label)
    names = feature.get("names") if isinstance(feature, Mapping) else None
    columns = Columns(image, label, group, tuple(map(str, names)) if isinstance(names, list) and names else None)
    check_types(schema, columns)
    return columns


def check_types(schema: pa.Schema, columns: Columns) -> None:
    """Raises DataError where a column that is there cannot hold what it should."""
    if columns.image in schema.names and not _is_image(kind := schema.field(columns.image).type):
        raise DataError(
            f"Column '{printable(columns.image)}' holds {printable(kind)}; images are bytes, or a struct of bytes and path."
            f"{_instead(pa.schema([schema.field(columns.image)]))}"
        )
    for role, name in (("label", columns.label), ("group", columns.group)):
        if name in schema.names and pa.types.is_nested(kind := schema.field(name).type):
            raise DataError(f"The {role} column '{printable(name)}' holds {printable(kind)}; it must hold one value an image.")


def image_items(column: pa.Array, *folders: Path) -> Iterator[Item | None]:
    """The images of one column chunk. An image given by path alone is read only from inside one of `folders`."""
    if not pa.types.is_struct(column.type):
        yield from column.to_pylist()
        return
    contents = column.field("bytes").to_pylist()
    has_paths = column.type.get_field_index("path") >= 0 and _is_text(column.type.field("path").type)
    paths = column.field("path").to_pylist() if has_paths else [None] * len(contents)
    for content, path in zip(contents, paths, strict=True):
        yield content if content is not None or path is None else _inside(folders, path)


def _inside(folders: tuple[Path, ...], path: str) -> Path | NoImage:
    if "://" in path:
        return NoImage(f"it is given by an address, {printable(path)}: such images are not downloaded")
    try:
        resolved = (folders[0] / path).resolve()
        is_inside = any(resolved.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have, links in a circle
        return NoImage(f"its path {printable(path)} cannot be followed: {reason(error)}")
    return resolved if is_inside else NoImage(f"its path {printable(path)} leads out of the folder {printable(folders[0])}")


def _listed(names: list[str]) -> str:
    return printable(", ".join(names), limit=1000)


def _listed_types(schema: pa.Schema) -> str:
    return printable(", ".join(f"{field.name} ({field.type})" for field in schema), limit=1000)


def _choose(role: str, given: str | None, candidates: list[str], usual: tuple[str, ...], schema: pa.Schema) -> str:
    if given is not None:
        if given in schema.names:
            return given
        raise DataError(f"There is no {role} column '{given}'. Columns: {_listed(schema.names)}.")
    if len(candidates) == 1 and candidates != schema.names:
        return candidates[0]
    for name in usual:
        if name in candidates:
            return name
    asked = _listed(candidates or schema.names)
    raise DataError(f"The {role} column is not clear; set `{role}_column` to one of: {asked}.")


def _of_type(features: Mapping[str, Any], kind: str) -> list[str]:
    return [name for name, feature in features.items() if isinstance(feature, Mapping) and feature.get("_type") == kind]


def _image_like(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_image(field.type)]


def _instead(schema: pa.Schema) -> str:
    """What to do where images may be there, as names of files, in base64, or as lists of numbers."""
    if any(_is_text(field.type) for field in schema if field.name not in _LABEL_NAMES):
        return (
            " Text is not read as images: replace names of files by a struct of bytes (null) and path, or use "
            "`source: image_folder` with a metadata.csv; decode base64."
        )
    if any(pa.types.is_list(field.type) or pa.types.is_large_list(field.type) for field in schema):
        return " Lists of numbers are not read as images: encode them, as PNG for instance, or use `source: function`."
    return ""


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        # pandas writes a struct of paths alone with bytes of type null.
        return kind.get_field_index("bytes") >= 0 and (
            _is_bytes(kind.field("bytes").type) or pa.types.is_null(kind.field("bytes").type)
        )
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
