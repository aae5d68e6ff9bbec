"""docs/yaml.md says what the models say."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cbam_search.study.config import StudyConfig

DOCS = Path(__file__).parents[2] / "docs"
_SPEC = importlib.util.spec_from_file_location("make_yaml_reference", DOCS / "make_yaml_reference.py")
assert _SPEC is not None
assert _SPEC.loader is not None
make_yaml_reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_yaml_reference)

PAGE = (DOCS / "yaml.md").read_text(encoding="utf-8")
MINIMAL = {"name": "x", "dataset": {"source": "digits"}, "backbone": {"family": "resnet", "depth": 18}}


def test_the_page_is_what_the_script_writes() -> None:
    assert make_yaml_reference.reference() == PAGE, "run: python docs/make_yaml_reference.py"


def _keys(properties: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, entry in properties.items():
        yield prefix + key, entry
        for option in entry.get("anyOf", entry.get("oneOf", [entry])):
            if "$ref" in option:
                yield from _keys(definitions[option["$ref"].rpartition("/")[2]]["properties"], definitions, f"{prefix}{key}.")


def test_every_key_of_the_schema_is_there_with_its_default() -> None:
    schema = StudyConfig.model_json_schema(by_alias=True)
    keys = dict(_keys(schema["properties"], schema["$defs"]))
    assert len(keys) > 60
    for path, entry in keys.items():
        if f"\n## `{path}`" in PAGE:
            continue
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{path}` |")]
        if entry.get("default") is not None and "$ref" not in entry:
            assert f"| `{json.dumps(entry['default']).replace(chr(34), '')}` |" in row
        if entry.get("description"):
            assert entry["description"].replace("|", "\\|") in row
