"""Reading YAML: what its scalars mean, where a mistake in its syntax is, and what it may not do to the reader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from cbam_search.errors import ConfigError
from cbam_search.study.yaml_file import MAX_BYTES, MAX_DEPTH, ModelT, parse_yaml, read_text


class Anything(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Any = None


class Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int
    lr: float = 0.1
    nesterov: bool = True


def value_of(written: str) -> Any:
    return parse_yaml(f"value: {written}", "space.yaml", Anything).value


def read(path: Path, model: type[ModelT]) -> ModelT:
    return parse_yaml(read_text(path), str(path), model)


def complaint(text: str) -> str:
    """The message about the mistake, apart from the last line on what to do."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "space.yaml", Anything)
    message, closing = str(caught.value).rsplit("\n", 1)
    assert closing == "1 mistake in space.yaml; nothing was started. `cbam-search schema` prints every key."
    return message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5e-4", 5e-4),
        ("5.0e-4", 5e-4),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("-.5", -0.5),
        ("5.", 5.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("007", 7),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        # text in YAML 1.2, something else in YAML 1.1
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("none", "none"),
        ("None", "None"),
        ("2024-05-06", "2024-05-06"),
        ("5e", "5e"),
        ("\n- ", [None]),
        ("'12'", "12"),
        ('"null"', "null"),
        ("[no, none, 5e-4]", ["no", "none", 5e-4]),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),
        ("[&a [1, 2], *a]", [[1, 2], [1, 2]]),
    ],
)
def test_a_value_means_what_yaml_1_2_says(written: str, meant: Any) -> None:
    value = value_of(written)

    assert value == meant
    assert type(value) is type(meant)


def test_nan_is_a_number() -> None:
    assert value_of(".nan") != value_of(".nan")


def test_pydantic_reads_numbers_with_underscores_and_yes_as_a_boolean() -> None:
    recipe = parse_yaml("epochs: 1_000\nnesterov: no\nlr: 5e-4", "space.yaml", Recipe)

    assert recipe == Recipe(epochs=1000, nesterov=False, lr=0.0005)


@pytest.mark.parametrize(
    ("text", "where_and_what"),
    [
        ("", "1:1: the file is empty. Keys expected here: value"),
        ("# only a comment\n", "1:1: the file is empty. Keys expected here: value"),
        ("\n- a\n", "2:1: the file holds no keys at its top level. Keys expected here: value"),
        ("word", "1:1: the file holds no keys at its top level. Keys expected here: value"),
        ("value: 1\n\nvalue: 2", "3:1: the key 'value' stands here again, after line 1"),
        ("value:\n  a: 1\n  b: {c: 1, c: 2}", "3:13: the key 'c' stands here again, after line 3"),
        ("value:\n\tb: 1", "2:1: a tab stands here; YAML is indented with spaces"),
        ("value: {a: b\nc: d", "2:2: while parsing a flow mapping that begins in line 1: expected ',' or '}', but got ':'"),
        (
            "value: a: b",
            "1:9: a ':' where none may stand: text that holds ': ' needs quotes, and the key above its own ':'",
        ),
        ("value: 1\n---\nvalue: 2", "2:1: a second document begins here; the file may hold one"),
        ("value: *b", "1:8: found undefined alias 'b'"),
        ("value: @b", "1:8: found character '@' that cannot start any token"),
        ("value: \x00", "1:8: a character YAML may not hold"),
        ("a: 1\nvalue: \x07", "2:8: a character YAML may not hold"),
        ('value: "\\UFFFFFFFF"', "1:11: a number or character code out of range"),
        (f"%YAML 1.{'9' * 5000}\n---\nvalue: 1", "1:9: a number or character code out of range"),
        (f"value: {'9' * 5000}", "1:8: a number of over 300 digits"),
        ("value: 1\n? [a]\n: 1", "2:3: a key must be a name, not a list or a mapping"),
        ("a: &a {b: 1}\nvalue:\n  <<: *a", "3:3: the merge key `<<` is not read; write the keys out"),
        ("value: !!python/object/apply:os.system ['true']", "1:8: tags (`!name`) are not read"),
        ("value: !!int 5", "1:8: tags (`!name`) are not read"),
        ("value: &a [1, *a]", "1:8: an anchor that holds itself"),
        ("value: " + "[" * 5000, f"1:{7 + MAX_DEPTH}: nested over {MAX_DEPTH} levels deep"),
    ],
)
def test_a_mistake_in_the_yaml_is_shown_where_it_stands(text: str, where_and_what: str) -> None:
    assert complaint(text) == f"space.yaml:{where_and_what}"


def test_aliases_of_aliases_are_bounded() -> None:
    """The "billion laughs": nine lines that stand for ten to the ninth values."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert "over 20000 values, aliases counted as often as they are used" in complaint("\n".join(lines))


def test_aliases_nest_no_deeper_than_lists_written_out() -> None:
    chain = ", ".join(["&a0 []", *(f"&a{n} [*a{n - 1}]" for n in range(1, 500))])

    assert f"nested over {MAX_DEPTH} levels deep" in complaint(f"value: [{chain}]")


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes("\ufeffepochs: 30\r\nlr: 5e-4\r\n".encode())

    assert read(path, Recipe) == Recipe(epochs=30, lr=0.0005)


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read(tmp_path: Path, indent: int | str | None) -> None:
    path = tmp_path / "space.json"
    path.write_text(json.dumps({"epochs": 30, "lr": 5e-4, "nesterov": False}, indent=indent))

    assert read(path, Recipe) == Recipe(epochs=30, lr=0.0005, nesterov=False)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    path.write_text('{\n\t"epochs": 30,\n\t"lrr": 1\n}')

    with pytest.raises(ConfigError) as caught:
        read(path, Recipe)

    assert str(caught.value).splitlines() == [
        f"{path}:3: lrr: unknown key. Did you mean 'lr'? Allowed here: epochs, lr, nesterov",
        f"1 mistake in {path}; nothing was started. `cbam-search schema` prints every key.",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs: 3\nlr: \xff", ":2:5: not UTF-8; save the file as UTF-8"),
        ("epochs: 3".encode("utf-16"), ":1:1: not UTF-8; save the file as UTF-8"),
        (b"#" * (MAX_BYTES + 1), ": over 256 KiB, too large for a configuration"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read(path, Recipe)

    assert str(caught.value).splitlines()[0] == f"{path}{message}"


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file or directory"):
        read(tmp_path / "absent.yaml", Recipe)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path, Recipe)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from(list("aeE<&*!|>%@?-:,.[]{}'\"\\ \n\t#0159_~\x00\x85é\ud800")), max_size=40))
def test_any_text_is_a_configuration_or_one_config_error(text: str) -> None:
    for written in (text, f"value: {text}", f"epochs: {text}"):
        try:
            parse_yaml(written, "space.yaml", Recipe if written.startswith("epochs") else Anything)
        except ConfigError as error:
            assert str(error).startswith("space.yaml:")


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_configuration_or_one_config_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    try:
        read(path, Anything)
    except ConfigError as error:
        assert str(error).startswith(str(path))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("C", "Zl", "Zp"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(json_values)
def test_json_values_come_back_as_they_were_written(value: Any) -> None:
    text = json.dumps({"value": value}, ensure_ascii=False)

    assert parse_yaml(text, "space.json", Anything).value == value


def test_reading_imports_nothing_heavy() -> None:
    """In a process of its own, since this one may have imported anything."""
    code = (
        "import sys, cbam_search.study.yaml_file; "
        "heavy = {'torch', 'ray', 'optuna', 'mlflow', 'numpy', 'datasets', 'pandas'}; "
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )

    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
