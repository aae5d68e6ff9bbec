"""Reads a YAML (or JSON) file, and makes a pydantic model of its text; whatever is wrong with it becomes one ConfigError.

Values are read as YAML 1.2's core schema reads them, since that of YAML 1.1, PyYAML's own, surprises:

- `5e-4` and `1e3` are numbers, as is `.5`; numbers are decimal (`1_000`, `0x10` and `1:30` are text, of which pydantic
  still reads `1_000` as a number where one is due);
- only `true` and `false` are booleans, so that `[no]` is a list with the text "no"; a boolean field takes yes/no/on/off
  too, by pydantic's own reading;
- only `null`, `~` and an empty value are null: `none` is text, and so are dates;
- keys are text, as in JSON, and stand once in a mapping. Anchors and aliases work; tags (`!!python/...`) and the merge
  key `<<` are refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from cbam_search.safe_text import printable, reason
from cbam_search.study.config_errors import KeyPath, config_error, explain
from cbam_search.study.config_types import keys
from cbam_search.study.config_words import listed
from cbam_search.study.input_file import read_bytes

MAX_BYTES = 256 * 1024
MAX_VALUES = 20_000
MAX_DEPTH = 32

ModelT = TypeVar("ModelT", bound=BaseModel)

_CORE_SCHEMA = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")),
    ("float", re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"), list("-+.0123456789")),
    ("float", re.compile(r"^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"), list("-+.")),
)
_TOO_DEEP = f"nested over {MAX_DEPTH} levels deep"
_PLAIN_WORDS = {
    "found character '\\t' that cannot start any token": "a tab stands here; YAML is indented with spaces",
    "mapping values are not allowed here": (
        "a ':' where none may stand: text that holds ': ' needs quotes, and the key above its own ':'"
    ),
    "but found another document": "a second document begins here; the file may hold one",
}


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, or of a pipe, as `<(command)` is one. Raises ConfigError if it is absent, over 256 KiB, or not
    UTF-8.
    """
    try:
        content = read_bytes(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise config_error(printable(path), [f"{printable(path)}: cannot be read: {reason(error, with_file=False)}"]) from None
    if len(content) > MAX_BYTES:
        raise config_error(str(path), [f"{path}: over {MAX_BYTES // 1024} KiB, too large for a configuration"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise config_error(str(path), [f"{path}:{line}:{column}: not UTF-8; save the file as UTF-8"]) from None
    return text.replace("\t", " ") if path.suffix == ".json" else text  # JSON may be indented with tabs, YAML not


def parse_yaml(text: str, file_name: str, model: type[ModelT]) -> ModelT:
    """YAML `text` as a `model`; `file_name` is what messages call it. Raises ConfigError with every mistake."""
    document = _Document(file_name)
    data = document.read(text)
    if not isinstance(data, dict):
        found = "the file is empty" if data is None else "the file holds no keys at its top level"
        line = document.lines.get((), 1)
        raise config_error(file_name, [f"{file_name}:{line}:1: {found}. Keys expected here: {listed(keys(model))}"])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, model, file_name, document.lines) from None


class _Loader(yaml.SafeLoader):
    """Composes nodes by the core schema, of bounded depth, and without tags."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's attribute)
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, "tags (`!name`) are not read", event.start_mark)
        if self._depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, _TOO_DEEP, event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _name, _pattern, _first_characters in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first_characters)


class _Document:
    """Plain data from YAML text, and in `lines` the line of every key path in it (that of the key, or of the item)."""

    def __init__(self, file_name: str) -> None:
        self.file_name = file_name
        self.lines: dict[KeyPath, int] = {}
        self._open: list[yaml.Node] = []

    def read(self, text: str) -> Any:
        root = self._compose(text)
        return None if root is None else self._value(root, (), root)

    def _compose(self, text: str) -> yaml.Node | None:
        loader: _Loader | None = None
        try:
            loader = _Loader(text)
            return loader.get_single_node()
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            where = f"{before.count(chr(10)) + 1}:{error.position - before.rfind(chr(10))}"
            raise config_error(self.file_name, [f"{self.file_name}:{where}: a character YAML may not hold"]) from None
        except yaml.MarkedYAMLError as error:
            problem = error.problem or "not YAML"
            begins = f"{error.context} that begins in line {error.context_mark.line + 1}: " if error.context_mark else ""
            words = _PLAIN_WORDS.get(problem) or f"{begins}{problem}"
            self._refuse(error.problem_mark or error.context_mark, words)
        except (ValueError, OverflowError):  # from PyYAML's scanner: "\UFFFFFFFF", or a version of 5,000 digits
            self._refuse(loader.get_mark() if loader else None, "a number or character code out of range")

    def _refuse(self, mark: yaml.Mark | None, problem: str) -> NoReturn:
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise config_error(self.file_name, [f"{self.file_name}{where}: {problem}"]) from None

    def _value(self, node: yaml.Node, path: KeyPath, place: yaml.Node) -> Any:
        """What `node` says; `place` is the node whose line is that of `path`: the key, or the item itself."""
        self.lines[path] = place.start_mark.line + 1
        if len(path) > MAX_DEPTH:
            self._refuse(node.start_mark, _TOO_DEEP)
        if len(self.lines) > MAX_VALUES:
            self._refuse(place.start_mark, f"over {MAX_VALUES} values, aliases counted as often as they are used")
        if node in self._open:
            self._refuse(node.start_mark, "an anchor that holds itself")
        self._open.append(node)
        value: Any
        if isinstance(node, yaml.MappingNode):
            pairs = self._pairs(node)
            value = {key: self._value(item, (*path, key), key_node) for key, (key_node, item) in pairs.items()}
        elif isinstance(node, yaml.SequenceNode):
            value = [self._value(item, (*path, index), item) for index, item in enumerate(node.value)]
        else:
            value = self._scalar(node)
        self._open.pop()
        return value

    def _pairs(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key -> nodes of the key and of the value."""
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node.start_mark, "a key must be a name, not a list or a mapping")
            key = key_node.value
            if key == "<<":
                self._refuse(key_node.start_mark, "the merge key `<<` is not read; write the keys out")
            self._require_characters(key_node)
            if key in pairs:
                first = pairs[key][0].start_mark.line + 1
                self._refuse(key_node.start_mark, f"the key {key!r} stands here again, after line {first}")
            pairs[key] = (key_node, value_node)
        return pairs

    def _require_characters(self, node: yaml.Node) -> None:
        """An escape such as "\\ud800" makes half a character, which can be neither written nor shown."""
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            self._refuse(node.start_mark, "an escape stands here that is no character by itself")

    def _scalar(self, node: yaml.Node) -> str | int | float | bool | None:
        self._require_characters(node)
        match node.tag.rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                return bool(node.value.lower() == "true")
            case "int" if len(node.value) > 300:
                self._refuse(node.start_mark, "a number of over 300 digits")
            case "int":
                return int(node.value)
            case "float":
                return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return str(node.value)
