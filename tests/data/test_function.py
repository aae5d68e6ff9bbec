"""Functions that fail, and arrays that are not what they should be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cbam_search.data.config import DatasetConfig
from cbam_search.data.function import open_function
from cbam_search.data.load import load
from cbam_search.errors import DataError, OwnCodeError
from cbam_search.own_code import CodePermission

HEADER = """
import sys
import numpy as np

x = np.random.default_rng(0).integers(0, 256, (40, 6, 6), dtype=np.uint8)
y = np.arange(40) % 2

class Broken:
    def __array__(self, *_, **__):
        raise OSError("the file is gone")

class Panic(BaseException):
    pass

def fail(error):
    raise error
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """written(expression) -> the settings of a function that returns it."""
    monkeypatch.chdir(tmp_path)

    def write(expression: str) -> DatasetConfig:
        name = "own_" + hashlib.md5(expression.encode()).hexdigest()
        Path(f"{name}.py").write_text(f"{HEADER}\ndef make():\n    return {expression}\n")
        return DatasetConfig(source="function", function=f"{name}:make")

    return write


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("sys.exit(3)", r"failed: SystemExit: 3 \(own_.*py:\d+\)"),
        ("fail(Panic('index out of bounds'))", "failed: Panic: index out of bounds"),
        ("fail(ValueError('\\x1b[31mred\\n'))", r"failed: ValueError: \\x1b\[31mred\\n"),
        ("None", "what it returned is None"),
        ("(x, y, y)", "what it returned is a tuple of 3"),
        ("(x[:0], y[:0])", r"nothing in images of shape \(0, 6, 6\)"),
        ("(iter(x), y)", r"images are object of shape \(\)"),
        ("([x[0], None, x[2]], y[:3])", r"\[0\] is uint8 of shape \(6, 6\), \[1\] is None"),
        ("([x[0], x[1], x[2, :3]], y[:3])", r"\[1\] is uint8 of shape \(6, 6\), \[2\] is uint8 of shape \(3, 6\)"),
        ("(['1.png'] * 40, y)", "images are <U5 of shape"),
        ("(Broken(), y)", "images cannot be made one array: the file is gone"),
        ("{'images': x, 'labels': y, 'class_names': 2}", "class_names are of type int; they must be a list of words"),
        ("{'images': x, 'labels': y, 'class_names': 'ab'}", "class_names are of type str"),
    ],
)
def test_what_went_wrong_is_said(written, expression, message) -> None:
    with pytest.raises(DataError, match=message):
        open_function(written(expression), code=CodePermission.of(True))


def test_ctrl_c_within_the_function_is_no_error_of_the_data(written) -> None:
    with pytest.raises(KeyboardInterrupt):
        open_function(written("fail(KeyboardInterrupt())"), code=CodePermission.of(True))


def test_an_image_is_named_by_its_place_in_the_array(written) -> None:
    source = open_function(
        written("{'images': x, 'labels': y, 'splits': ['test', 'train'] * 20}"), code=CodePermission.of(True)
    )
    assert source.splits["train"].name(3) == "images[7]"


def test_the_identity_is_that_of_the_whole_array(written) -> None:
    """Caches of earlier versions are found by it."""
    plain, strided = (open_function(written(f"({array}, y)"), code=CodePermission.of(True)) for array in ("x", "x[::1, ::-1]"))
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6), dtype=np.uint8)
    assert hashlib.sha256(images.tobytes()).hexdigest() in plain.identity
    assert hashlib.sha256(images[:, ::-1].tobytes()).hexdigest() in strided.identity
    assert len(load(written("(x, y)"), seed=0, code=CodePermission.of(True)).train) == 32


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nowhere_at_all:load", "the module 'nowhere_at_all' is not found: modules are looked for .* Run the command in the"),
        ("load.py:load", r"the module 'load.py' is not found.* has no \.py: write load:"),
    ],
)
def test_a_module_that_is_not_found_is_told_with_where_it_was_looked_for(function, message, tmp_path) -> None:
    (tmp_path / "load.py").write_text("def load():\n    return None\n")
    with pytest.raises(OwnCodeError, match=message):
        open_function(DatasetConfig(source="function", function=function), code=CodePermission(tmp_path))


def test_the_line_that_is_named_is_one_of_the_users_code(written) -> None:
    config = written("__import__('json').loads('{')")
    with pytest.raises(DataError, match=r"JSONDecodeError: .* \(own_.*\.py:\d+\)$"):
        open_function(config, code=CodePermission(Path.cwd()))
