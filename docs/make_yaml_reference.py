"""Writes docs/yaml.md from the models that read the YAML: python docs/make_yaml_reference.py

A test compares the page with what this script would write, so that the page cannot fall behind the models.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cbam_search.study.config import StudyConfig

PAGE = Path(__file__).with_name("yaml.md")

HEAD = """\
# The YAML, key by key

Written by `python docs/make_yaml_reference.py` from the models that read the file; do not edit it by hand.
`cbam-search schema` prints the same as a JSON schema, from which editors complete; `cbam-search validate space.yaml` checks a
file without loading data.

- `name`, `dataset` and `backbone` are needed; every other section has defaults.
- A key that is not listed here is a mistake, and so is a value that is not allowed. The message names the file, the line, the
  key's path, what is allowed and the nearest valid name. The exit code is 2, and nothing is started.
- Where a key takes one value or a list, each entry of the list is a choice that the search has.
- Relative paths in `dataset`, `backbone.weights` and `search.evaluation_cache` start at the YAML file's folder;
  `records.folder` starts where you launch.
- Values are read as YAML 1.2 reads them: `5e-4` is a number, `no` and `none` are words, only `true` and `false` are booleans.
  Tags, merge keys (`<<`) and a key that stands twice are refused.
"""


def reference() -> str:
    """The whole page."""
    schema = StudyConfig.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    top = {key: entry for key, entry in schema["properties"].items() if not _sections(entry, definitions)}
    parts = [HEAD, _table("the top level", _rows(top, schema.get("required", []), definitions))]
    for key, entry in schema["properties"].items():
        for section in _sections(entry, definitions):
            rows = _rows(section["properties"], section.get("required", []), definitions, prefix=f"{key}.")
            title = f"`{key}`" if "oneOf" not in entry else f"`{key}` with `{section['required'][0]}`"
            parts.append(_table(title, rows, section["description"]))
    return "\n".join(parts)


def _sections(entry: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The definition that an entry refers to, alone or beside null; several where the section has several forms."""
    if "oneOf" in entry:
        return [found for option in entry["oneOf"] for found in _sections(option, definitions)]
    references = [option["$ref"] for option in entry.get("anyOf", [entry]) if "$ref" in option]
    others = [option for option in entry.get("anyOf", []) if option.get("type") not in (None, "null")]
    return [definitions[references[0].rpartition("/")[2]]] if references and not others else []


def _rows(
    properties: dict[str, Any], required: list[str], definitions: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str, str]]:
    """Key path, what it takes, default and meaning; the keys of a mapping below the mapping itself."""
    for key, entry in properties.items():
        path = f"{prefix}{key}"
        default = "needed" if key in required else _default(entry)
        yield path, _takes(entry), default, entry.get("description", "")
        for option in entry.get("anyOf", [entry]):
            if "$ref" in option:
                below = definitions[option["$ref"].rpartition("/")[2]]
                yield from _rows(below["properties"], below.get("required", []), definitions, f"{path}.")


def _default(entry: dict[str, Any]) -> str:
    if "default" not in entry or entry["default"] is None:
        return "not set"
    if isinstance(entry["default"], dict) and "$ref" in entry:
        return "the defaults below"
    words = yaml.safe_dump(entry["default"], default_flow_style=True, width=1000)
    return f"`{words.splitlines()[0]}`"


def _takes(entry: dict[str, Any]) -> str:
    if "anyOf" in entry:
        options = [option for option in entry["anyOf"] if option.get("type") != "null" and option.get("maxItems") != 0]
        first = _takes(options[0])
        if len(options) == 2 and options[1].get("type") == "array" and options[1].get("items") == options[0]:
            return f"{first}; or a list of these"
        return "; or ".join(dict.fromkeys(_takes(option) for option in options))
    if "$ref" in entry:
        return "the keys below"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    return _takes_type(entry)


def _takes_type(entry: dict[str, Any]) -> str:
    match entry["type"]:
        case "integer" | "number":
            return ("a whole number" if entry["type"] == "integer" else "a number") + _range(entry)
        case "array" if "prefixItems" in entry:
            return f"[{', '.join(_takes(item) for item in entry['prefixItems'])}]"
        case "array":
            return f"a list of ({_takes(entry['items'])})"
        case "object":
            values = _takes(entry["additionalProperties"])
            keys = _takes(entry["propertyNames"]) if "propertyNames" in entry else "text"
            return (
                f"a mapping from {keys} to {values}"
                if "anyOf" not in entry["additionalProperties"]
                else f"a mapping from {keys} to ({values})"
            )
        case "boolean":
            return "`true`, `false`"
    return "text"


def _range(entry: dict[str, Any]) -> str:
    words = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
    if "exclusiveMinimum" in entry:
        del words["minimum"]
    return "".join(f" {word} {entry[key]:,}" for key, word in words.items() if key in entry)


def _table(title: str, rows: Iterator[tuple[str, str, str, str]], text: str = "") -> str:
    lines = [f"## {title[0].upper()}{title[1:]}", ""]
    if text:
        lines += [" ".join(text.split()), ""]
    lines += ["| key | takes | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{path}` | {_cell(takes)} | {default} | {_cell(meaning)} |" for path, takes, default, meaning in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
