from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cbam_search.data.config import DatasetConfig
from cbam_search.data.load import load
from cbam_search.errors import DataError
from cbam_search.identity import differences


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "digits", "path": "x"}, "`path` does not belong to `source: digits`"),
        ({"source": "parquet", "train": "a", "name": "b"}, "which takes group_column, image_column, label_column, test, train"),
        ({"source": "hub"}, "`source: hub` needs the key `name`"),
        ({"source": "parquet", "test": "a"}, "needs the key `train`"),
        ({"source": "image_folder"}, "needs the key `path`"),
        ({"source": "function"}, "needs the key `function`"),
        ({"source": "function", "function": "os.system('x')"}, "names no function: write package.module:function"),
        ({"source": "hub", "name": "../../somewhere"}, "names no data set of the hub: write owner/name"),
        ({"source": "hub", "name": "https://huggingface.co/datasets/uoft-cs/cifar10"}, "of the hub: write uoft-cs/cifar10"),
        ({"source": "image_folder", "path": "s3://bucket/photos"}, "is an address, not a path: download the data first"),
        ({"source": "parquet", "train": ["a.parquet", "https://a.b/c.parquet"]}, "is an address, not a path"),
        ({"source": "digits", "validation_fraction": 0.6, "test_fraction": 0.5}, "must add up to less than 1"),
        ({"source": "digits", "validation_fraction": 0}, "greater than 0"),
        ({"source": "digits", "limit": 0}, "greater than or equal to 2"),
        ({"source": "digits", "channels": 2}, "'auto', 1 or 3"),
        ({"source": "digits", "image_size": 0}, "greater than 0"),
        ({"source": "digits", "sise": 8}, "Extra inputs are not permitted"),
        ({"source": "zip"}, "'digits', 'hub', 'parquet', 'image_folder' or 'function'"),
    ],
)
def test_refuses_what_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DatasetConfig.model_validate(settings)
    assert message in str(refused.value)


def test_relative_paths_are_taken_from_the_yaml_folder() -> None:
    config = DatasetConfig(source="parquet", train=("a/*.parquet", "/data/b.parquet"), test="../t.parquet", cache_folder="c")
    resolved = config.resolved(Path("/runs"))
    assert resolved.files("train") == ("/runs/a/*.parquet", "/data/b.parquet")
    assert resolved.files("test") == ("/runs/../t.parquet",)
    assert resolved.files("validation") == ()
    assert resolved.cache_folder == "/runs/c"
    assert resolved.resolved(Path("/elsewhere")) == resolved


def test_environment_variables_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR", "/data/cifar")
    monkeypatch.delenv("UNSET", raising=False)
    config = DatasetConfig(source="parquet", train="${CIFAR}/train.parquet", test=("${UNSET}/t.parquet", "$CIFAR/t.parquet"))
    resolved = config.resolved(Path("/runs"))
    assert resolved.files("train") == ("/data/cifar/train.parquet",)
    assert resolved.files("test") == ("/runs/${UNSET}/t.parquet", "/runs/$CIFAR/t.parquet")
    assert resolved.unset_variables == ("UNSET",)
    with pytest.raises(DataError, match="environment variables that are not set: UNSET"):
        load(resolved, seed=0)


def test_image_size_is_a_side_or_height_and_width() -> None:
    assert DatasetConfig(source="digits", image_size=32).height_width == (32, 32)
    assert DatasetConfig.model_validate({"source": "digits", "image_size": [24, 32]}).height_width == (24, 32)
    assert DatasetConfig(source="digits").height_width is None


def test_every_key_is_described() -> None:
    assert all(field.description for field in DatasetConfig.model_fields.values())


def test_config_imports_nothing_heavy() -> None:
    code = "import sys, cbam_search.data.config; print({'torch', 'numpy', 'datasets', 'PIL', 'pyarrow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_an_older_study_may_be_told_how_to_read_its_folders() -> None:
    """The fingerprint of its data tells whether it was told rightly."""
    began_with = DatasetConfig(source="image_folder", path="photos")
    assert differences(began_with, began_with.model_copy(update={"class_folder": "last"})) == ()
