"""The YAML's two forms of `backbone`: mistakes in one are never explained by the other."""

from __future__ import annotations

import json

import pytest

from cbam_search.errors import ConfigError
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.study.config import StudyConfig
from cbam_search.study.yaml_file import parse_yaml

BASE = "name: x\ndataset: {source: digits}\n"
FAMILY_KEYS = "Allowed here: family, depth"
OWN_KEYS = "Allowed here: module, sites, arguments"


def read(text: str) -> StudyConfig:
    return parse_yaml(BASE + text, "s.yaml", StudyConfig)


def test_module_decides() -> None:
    own = read("backbone: {module: 'net:tiny', sites: a.0, arguments: {w: [0.5, 1], deep: true, n: 3, s: x}}").backbone
    assert isinstance(own, OwnBackboneConfig)
    assert own.sites == ("a.0",)
    assert [type(value) for values in own.arguments.values() for value in values] == [float, int, bool, int, str]
    assert own.combinations() == tuple({"w": width, "deep": True, "n": 3, "s": "x"} for width in (0.5, 1))
    assert isinstance(read("backbone: {family: resnet, depth: 18}").backbone, BackboneConfig)


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("{module: net, sites: [a]}", ["backbone.module: 'net' names no function: write package.module:function"]),
        ("{module: 'a:b', sites: []}", ["backbone.sites: the list is empty; give at least one choice"]),
        ("{module: 'a:b', sites: [a, a]}", ["backbone.sites: a is listed twice"]),
        ("{module: 'a:b', sites: ['.a']}", ["backbone.sites[0]: '.a' names no submodule: write layer1 or layer2.0"]),
        ("{module: 'a:b', site: [a]}", [f"backbone.site: unknown key. Did you mean 'sites'? {OWN_KEYS}"]),
        ("{modul: 'a:b', sites: [a]}", [f"backbone.modul: unknown key. Did you mean 'module'? {OWN_KEYS}"]),
        ("{module: 'a:b', sites: [a], depth: 18}", [f"backbone.depth: unknown key. {OWN_KEYS}"]),
        ("{module: 'a:b', sites: [a], family: resnet}", [f"backbone.family: unknown key. {OWN_KEYS}"]),
        ("{module: 'a:b'}", ["backbone: missing key 'sites': names of submodules"]),
        ("{module: 'a:b', sites: [a], arguments: [1]}", ["backbone.arguments: a list is not allowed: expected a mapping"]),
        (
            "{module: 'a:b', sites: [a], arguments: {a: null}}",
            ["backbone.arguments.a: an empty value is not allowed: expected"],
        ),
        ("{module: 'a:b', sites: [a], arguments: {a: [1, [2]]}}", ["backbone.arguments.a[1]: a list is not allowed: expected"]),
        ("{module: 'a:b', sites: [a], arguments: {a: .nan}}", ["backbone.arguments.a: nan must be a finite number"]),
        ("{module: 'a:b', sites: [a], arguments: {classes: 3}}", ["'classes' is given by the data, not here"]),
        ("{module: 'a:b', sites: [a], arguments: {a-b: 3}}", ["'a-b' cannot name an argument of a Python function"]),
        ("{familly: resnet, depth: 18}", [f"backbone.familly: unknown key. Did you mean 'family'? {FAMILY_KEYS}"]),
        ("{family: resnet, depth: 18, sites: [a]}", ["backbone.sites: unknown key.", FAMILY_KEYS]),
        ("{family: resnet, depth: 19}", ["backbone.depth: resnet has no depth 19"]),
        ("{}", ["backbone: missing key 'family'"]),
        ("[a]", ["backbone: a list is not allowed: expected a mapping with family"]),
        ("{module: 'a:b', sites: a}\nattention: {per: stage}", ["attention.per: the stages of your own network are not"]),
        ("{module: 'a:b', sites: a}\nattention: {position: pre}", ["your own network has no position 'pre'. Allowed: after"]),
        ("{family: resnet, depth: 18}\nattention: {position: after}", ["resnet has no position 'after'"]),
    ],
)
def test_a_mistake_is_explained_by_the_form_it_is_in(text: str, mistakes: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"backbone: {text}")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2, lines
    for words in mistakes:
        assert words in lines[0]
    assert lines[0].startswith("s.yaml:")


def test_the_resolved_yaml_says_the_same_again() -> None:
    config = read("backbone: {module: 'net:tiny', sites: [a, b.0], arguments: {w: [0.5, 1.0], deep: true}}")
    assert parse_yaml(config.resolved_yaml(), "resolved.yaml", StudyConfig) == config


def test_the_schema_shows_both_forms() -> None:
    schema = StudyConfig.model_json_schema(by_alias=True)
    forms = [schema["$defs"][option["$ref"].rpartition("/")[2]] for option in schema["properties"]["backbone"]["oneOf"]]
    assert [form["required"] for form in forms] == [["family"], ["module", "sites"]]
    json.dumps(schema)
