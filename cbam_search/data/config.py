"""The `dataset:` section of the YAML."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.architecture.own_backbone import FunctionName
from cbam_search.identity import DECIDES_NOTHING
from cbam_search.variables import VARIABLE, with_known_variables

SourceName = Literal["digits", "hub", "parquet", "image_folder", "function"]

_COLUMNS = frozenset({"image_column", "label_column", "group_column"})
PATTERN_KEYS: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")
_PATH_KEYS = (*PATTERN_KEYS, "path", "cache_folder")
_KEYS_OF_SOURCE: dict[str, frozenset[str]] = {
    "digits": frozenset(),
    "hub": frozenset({"name", "subset", "revision"}) | _COLUMNS,
    "parquet": frozenset({"train", "validation", "test"}) | _COLUMNS,
    "image_folder": frozenset({"path", "class_folder", "label_column", "group_column"}),
    "function": frozenset({"function"}),
}
_REQUIRED_KEY = {"hub": "name", "parquet": "train", "image_folder": "path", "function": "function"}
_SOURCE_KEYS = frozenset[str]().union(*_KEYS_OF_SOURCE.values())

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_PAGE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/datasets/([\w.-]+(?:/[\w.-]+)?)/?")


def _hub_name(name: str) -> str:
    if _HUB_NAME.fullmatch(name):
        return name
    page = _HUB_PAGE.fullmatch(name)
    raise ValueError(
        f"'{name}' names no data set of the hub: write {page[1] if page else 'owner/name, such as uoft-cs/cifar10'}"
    )


HubName = Annotated[str, AfterValidator(_hub_name)]
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def _local(path: str) -> str:
    if _ADDRESS.match(path):
        raise ValueError(f"'{path}' is an address, not a path: download the data first, and give the path of the copy")
    return path


LocalPath = Annotated[str, AfterValidator(_local)]
Paths = LocalPath | tuple[LocalPath, ...]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class DatasetConfig(BaseModel):
    """Where images come from, how they are split, and what is done to them once, before any training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: SourceName = Field(
        description="digits: scikit-learn's handwritten digits. hub: a data set of the Hugging Face hub. parquet: local "
        "parquet files. image_folder: one folder per class, under train/, validation/ and test/ or without. "
        "function: your own Python function (needs --allow-code)."
    )

    name: HubName | None = Field(default=None, description="hub: the data set's name there, such as uoft-cs/cifar10.")
    subset: str | None = Field(default=None, description="hub: the subset (configuration), where there are several.")
    revision: str | None = Field(default=None, description="hub: a branch, tag or commit. Default: the newest.")

    train: Paths | None = Field(default=None, description="parquet: a file, a pattern such as train-*.parquet, or a list.")
    validation: Paths | None = Field(default=None, description="parquet: the same for validation, where there is one.")
    test: Paths | None = Field(default=None, description="parquet: the same for the test split, where there is one.")

    path: LocalPath | None = Field(default=None, description="image_folder: the folder.")
    # Of no identity: data are compared by their fingerprint, and an older study may be told how to read its folders.
    class_folder: Annotated[Literal["first", "last"] | None, DECIDES_NOTHING] = Field(
        default=None,
        description="image_folder: which folder names the class where folders lie inside folders. first: the outermost (below "
        "the split). last: the one that the image lies in. Default: what is clear; where it is not, that is an error.",
    )
    function: FunctionName | None = Field(
        default=None, description="function: package.module:function, called without arguments; see data/function.py."
    )

    image_column: str | None = Field(default=None, description="Column of the images. Default: found by its type.")
    label_column: str | None = Field(default=None, description="Column of the labels. Default: found by type and name.")
    group_column: str | None = Field(
        default=None, description="Column (a patient, a camera) whose equal values stay together when a split is carved."
    )

    validation_fraction: Fraction = Field(
        default=0.1, gt=0, description="Share of the training images held out where the source has no validation split."
    )
    test_fraction: Fraction = Field(
        default=0.1, description="Share of the training images held out where the source has no test split; 0: none."
    )
    limit: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="Keep at most that many images of all splits together, each class in proportion."
    )

    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        default=None,
        description="Side in pixels, or [height, width]: images are resized to cover it, then cropped at the centre. "
        "Default: as they are, which needs all of one size.",
    )
    channels: Literal["auto", 1, 3] = Field(
        default="auto", description="1: grey. 3: colour. auto: 1 where every image is grey, else 3."
    )
    max_corrupt_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="Images that cannot be decoded are left out; more than this share is an error."
    )

    memory_limit_gib: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Decoded images above this size (GiB) are streamed from a memory-mapped cache. "
        "Default: a quarter of the machine's memory.",
    )
    cache_folder: LocalPath | None = Field(
        default=None, description="Folder of the memory-mapped cache. Default: ~/.cache/cbam-search/datasets."
    )

    @model_validator(mode="after")
    def _keys_belong_to_the_source(self) -> DatasetConfig:
        allowed = _KEYS_OF_SOURCE[self.source]
        stray = sorted(key for key in (_SOURCE_KEYS - allowed) if getattr(self, key) is not None)
        if stray:
            own = ", ".join(sorted(allowed)) or "no key of its own"
            raise PydanticCustomError(
                "key_of_another_source",
                "{stray} does not belong to `source: {source}`, which takes {own}",
                {"stray": ", ".join(f"`{key}`" for key in stray), "source": self.source, "own": own},
            )
        required = _REQUIRED_KEY.get(self.source)
        if required and not getattr(self, required):
            raise PydanticCustomError(
                "missing_key_of_source",
                "`source: {source}` needs the key `{required}`",
                {"source": self.source, "required": required},
            )
        return self

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> DatasetConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise PydanticCustomError("fractions_too_large", "validation_fraction and test_fraction must add up to less than 1")
        return self

    @property
    def height_width(self) -> tuple[int, int] | None:
        """`image_size` as (height, width) in pixels, or None where images stay as they are."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    def files(self, split: Literal["train", "validation", "test"]) -> tuple[str, ...]:
        """The paths and patterns of one parquet split; empty where it has none."""
        paths: Paths | None = getattr(self, split)
        return (paths,) if isinstance(paths, str) else paths or ()

    def resolved(self, base: Path, moved: Callable[[str], str] = str) -> DatasetConfig:
        """The same settings with every relative path taken from `base`, the folder of the YAML file.

        `${NAME}` in a path is that environment variable; one that is not set stays as it is, see `unset_variables`. In a
        pattern, what stands in `base` stands for itself. moved: from where a file was to where it is.
        """

        def absolute(path: str, *, pattern: bool) -> str:
            # os.path: pathlib raises where there is no such home folder.
            written = Path(os.path.expanduser(with_known_variables(path)))  # noqa: PTH111
            plain = moved(str(base.absolute() / written))
            if written.is_absolute() or not (pattern and glob.has_magic(str(written))) or Path(plain).is_file():
                return plain
            return str(Path(glob.escape(str(base.absolute()))) / written)

        changes: dict[str, Paths] = {}
        for key in _PATH_KEYS:
            value: Paths | None = getattr(self, key)
            if value is not None:
                of_key = partial(absolute, pattern=key in PATTERN_KEYS)
                changes[key] = of_key(value) if isinstance(value, str) else tuple(of_key(path) for path in value)
        return self.model_copy(update=changes)

    @property
    def unset_variables(self) -> tuple[str, ...]:
        """The environment variables that paths of `resolved` settings name and that are not set."""
        values = [getattr(self, key) or () for key in _PATH_KEYS]
        paths = [path for value in values for path in ((value,) if isinstance(value, str) else value)]
        return tuple(dict.fromkeys(name for path in paths for name in VARIABLE.findall(path)))
