"""Every mistake of a configuration at once, each with its line, its key, what is allowed and the nearest name.

The models here have every shape that a section may have; none of them is the product's own.
"""

from __future__ import annotations

import copy
import re
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.errors import ConfigError, NotAvailableError
from cbam_search.space.choices import OneOf
from cbam_search.study.yaml_file import parse_yaml

CLOSING = "nothing was started. `cbam-search schema` prints every key."


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple | dict) else (value,)


def only_branch_end(value: str) -> str:
    if value == "pre":
        raise PydanticCustomError("not_available", "'pre' is not available in this version. Allowed: branch_end")
    return value


def only_resnets(value: str) -> str:
    if value == "mobilenet":
        raise NotAvailableError("mobilenet is not available in this version. Allowed: resnet")
    return value


Pool = Literal["avg", "max", "lp", "lse"]


class PoolChoice(Section):
    from_: tuple[Pool, ...] = Field(alias="from", min_length=1)
    at_least: int = Field(1, ge=1)
    at_most: int | None = None

    @model_validator(mode="after")
    def bounds_are_in_order(self) -> PoolChoice:
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError(f"at_most ({self.at_most}) is less than at_least ({self.at_least})")
        return self


class Attention(Section):
    kind: Annotated[tuple[Literal["none", "se", "cbam"], ...], BeforeValidator(listed)] = ("none",)
    reduction_ratio: tuple[Annotated[int, Field(gt=0)], ...] = (16,)
    pools: tuple[tuple[Pool, ...], ...] | PoolChoice = (("avg",),)
    position: Annotated[str, AfterValidator(only_branch_end)] = "branch_end"


class Backbone(Section):
    family: Annotated[str, AfterValidator(only_resnets)] = "resnet"
    depth: Annotated[tuple[Literal[20, 32, 44], ...], BeforeValidator(listed), Field(min_length=1)] = (20,)
    width: Annotated[list[float], BeforeValidator(listed)] = Field([1.0], max_length=3)


class Sha(Section):
    kind: Literal["asha"]
    grace_period: int = Field(ge=1, description="epochs before the first rung")


class Median(Section):
    kind: Literal["median", "mean"] = "median"
    quantile: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.5


class Optimizer(Enum):
    SGD = "sgd"
    ADAMW = "adamw"


class Limits(RootModel[dict[Literal["gflops", "params"], dict[str, float]]]):
    model_config = ConfigDict(frozen=True)


class Training(Section):
    epochs: int = Field(description="passes over the training images")
    lr: float = 0.1
    optimizer: Optimizer = Optimizer.SGD
    nesterov: bool = True
    crop: tuple[int, int] = (32, 32)
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    precision: Annotated[str, OneOf("precision", ("half", "full"))] = "full"
    clip: float | None = None
    notes: list[Any] = []
    folder: str | list[str] | None = None
    devices: list[int | Literal["auto"]] = []


class Folder(Section):
    folder: str


class Hub(Section):
    hub: str
    split: str = "train"


class Study(Section):
    name: str = Field("study", max_length=20)
    backbone: Backbone = Backbone()
    attention: Attention | None = None
    objectives: dict[Literal["accuracy", "gflops"], Literal["max", "min"]] = {}
    constraints: Limits = Limits({})
    scheduler: Annotated[Sha | Median, Field(discriminator="kind")] | None = None
    schedulers: tuple[Annotated[Sha | Median, Field(discriminator="kind")], ...] = ()
    fallback: Literal["first"] | Annotated[Sha | Median, Field(discriminator="kind")] = "first"
    images: Folder | Hub | Literal["digits"] = "digits"
    training: Training


VALID = """\
name: cifar10
backbone: {family: resnet, depth: [20, 32], width: 0.5}
attention:
  kind: [none, se]
  reduction_ratio: [4, 8]
  pools: {from: [avg, max], at_least: 1, at_most: 2}
  position: branch_end
objectives: {accuracy: max, gflops: min}
constraints: {gflops: {at_most: 0.05}}
scheduler: {kind: asha, grace_period: 3}
schedulers:
  - kind: median
    quantile: 0.4
  - {kind: asha, grace_period: 1}
fallback: {kind: mean}
images: {folder: train}
training:
  epochs: 30
  lr: 4e-1
  optimizer: adamw
  nesterov: true
  crop: [32, 32]
  workers: 2
  notes: [{a: 1}]
  folder: here
"""


def complaints(text: str) -> list[str]:
    """The mistakes found, one a line, without the name of the file and the last line on what to do."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "space.yaml", Study)
    *mistakes, closing = str(caught.value).splitlines()
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    assert closing == f"{count} in space.yaml; {CLOSING}"
    assert all(mistake.startswith("space.yaml:") for mistake in mistakes)
    return [mistake.removeprefix("space.yaml:") for mistake in mistakes]


def complaint(section: str) -> str:
    """The one mistake of `section`, which stands in line 2, after a training section that is right."""
    (mistake,) = complaints(f"training: {{epochs: 3}}\n{section}")
    return mistake


def test_the_valid_file_is_valid() -> None:
    study = parse_yaml(VALID, "space.yaml", Study)

    assert study.backbone.width == [0.5]
    assert study.attention is not None
    assert study.attention.pools == PoolChoice.model_validate({"from": ("avg", "max"), "at_most": 2})
    assert study.training.optimizer is Optimizer.ADAMW


def test_all_mistakes_are_listed_in_the_order_of_their_lines() -> None:
    text = """\
# a comment
nmae: cifar10
backbone:
  depth:
    - 20
    - 21
attention: &attention
  reduction_ratoi: [4]
  kind: [none,
         cbma]
objectives:
  acuracy: max
  gflops: least
training:
  lr: fast
"""
    assert complaints(text) == [
        "2: nmae: unknown key. Did you mean 'name'? Allowed here: name, backbone, attention, objectives, constraints, "
        "scheduler, schedulers, fallback, images, training",
        "6: backbone.depth[1]: 21 is not allowed. Allowed: 20, 32, 44. Nearest: 20",
        "8: attention.reduction_ratoi: unknown key. Did you mean 'reduction_ratio'? "
        "Allowed here: kind, reduction_ratio, pools, position",
        "10: attention.kind[1]: 'cbma' is not allowed. Did you mean 'cbam'? Allowed: none, se, cbam",
        "12: objectives.acuracy: unknown key. Did you mean 'accuracy'? Allowed here: accuracy, gflops",
        "13: objectives.gflops: 'least' is not allowed. Allowed: max, min",
        "14: training: missing key 'epochs': passes over the training images",
        "15: training.lr: 'fast' is not allowed: expected a number",
    ]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        # choices
        ("backbone: {depth: 33}", "backbone.depth: 33 is not allowed. Allowed: 20, 32, 44. Nearest: 32"),
        ("backbone: {depth: '20'}", "backbone.depth: '20' is not allowed. Did you mean 20? Allowed: 20, 32, 44"),
        ("backbone: {depth: .nan}", "backbone.depth: nan is not allowed. Allowed: 20, 32, 44"),
        ("backbone: {depth: {a: 1}}", "backbone.depth: a mapping is not allowed: expected a list of any of 20, 32, 44"),
        ("attention: {kind: CBAM}", "attention.kind: 'CBAM' is not allowed. Did you mean 'cbam'? Allowed: none, se, cbam"),
        ("attention: {kind: [no]}", "attention.kind[0]: 'no' is not allowed. Did you mean 'none'? Allowed: none, se, cbam"),
        ("attention: {kind: ~}", "attention.kind: an empty value is not allowed. Did you mean 'none'? Allowed: none, se, cbam"),
        ("attention: {kind: true}", "attention.kind: true is not allowed. Allowed: none, se, cbam"),
        ("attention: {kind: [[se]]}", "attention.kind[0]: a list is not allowed. Allowed: none, se, cbam"),
        # sizes
        ("backbone: {depth: []}", "backbone.depth: a list of 0 entries is too short; at least 1 needed"),
        ("backbone: {width: [1, 2, 3, 4]}", "backbone.width: a list has too many entries; at most 3 may stand here"),
        ("attention: {reduction_ratio: [4, 0]}", "attention.reduction_ratio[1]: 0 must be more than 0"),
        ("scheduler: {kind: asha, grace_period: 0}", "scheduler.grace_period: 0 must be at least 1"),
        ("scheduler: {kind: mean, quantile: 1.0}", "scheduler.quantile: 1.0 must be less than 1"),
        ("scheduler: {kind: mean, quantile: .inf}", "scheduler.quantile: inf must be a finite number"),
        (f"name: {'x' * 90}", f"name: '{'x' * 59}... must have at most 20 characters"),
        # kinds of values
        ("name: 2024", "name: 2024 is not allowed: expected text. In quotes it is text: '2024'"),
        ("backbone: 5", "backbone: 5 is not allowed: expected a mapping with family, depth, width"),
        (
            "attention: [se]",
            "attention: a list is not allowed: expected a mapping with kind, reduction_ratio, pools, position or null",
        ),
        ("attention: {reduction_ratio: 4}", "attention.reduction_ratio: 4 is not allowed: expected a list of whole numbers"),
        ("attention: {reduction_ratio: [4.5]}", "attention.reduction_ratio[0]: 4.5 is not allowed: expected a whole number"),
        ("objectives: accuracy", "objectives: 'accuracy' is not allowed: expected a mapping with accuracy, gflops"),
        ("schedulers: 5", "schedulers: 5 is not allowed: expected a list, each item a mapping with kind (asha, median, mean)"),
        # root models and mappings of mappings
        ("constraints: {gflop: {}}", "constraints.gflop: unknown key. Did you mean 'gflops'? Allowed here: gflops, params"),
        ("constraints: {params: {at_most: few}}", "constraints.params.at_most: 'few' is not allowed: expected a number"),
        # discriminated unions
        ("scheduler: {kind: ahsa}", "scheduler.kind: 'ahsa' is not allowed. Did you mean 'asha'? Allowed: asha, median, mean"),
        ("scheduler: {knid: asha}", "scheduler: missing key 'kind'. Did you mean it by 'knid'? Allowed: asha, median, mean"),
        ("scheduler: {}", "scheduler: missing key 'kind'. Allowed: asha, median, mean"),
        ("scheduler: asha", "scheduler: 'asha' is not allowed: expected a mapping with kind (asha, median, mean) or null"),
        ("scheduler: {kind: asha}", "scheduler: missing key 'grace_period': epochs before the first rung"),
        (
            "scheduler: {kind: asha, gracePeriod: 3}",
            "scheduler.gracePeriod: unknown key. Did you mean 'grace_period'? Allowed here: kind, grace_period",
        ),
        ("schedulers: [{kind: mean, quantile: x}]", "schedulers[0].quantile: 'x' is not allowed: expected a number"),
        # plain unions
        (
            "attention: {pools: avg}",
            "attention.pools: 'avg' is not allowed: expected a list, each item a list of any of avg, max, lp, lse "
            "or a mapping with from, at_least, at_most",
        ),
        (
            "attention: {pools: [[avg, mix]]}",
            "attention.pools[0][1]: 'mix' is not allowed. Did you mean 'max'? Allowed: avg, max, lp, lse",
        ),
        (
            "attention: {pools: {form: [avg]}}",
            "attention.pools.form: unknown key. Did you mean 'from'? Allowed here: from, at_least, at_most",
        ),
        ("attention: {pools: {at_least: 1}}", "attention.pools: missing key 'from'"),
        (
            "fallback: frist",
            "fallback: 'frist' is not allowed: expected 'first' or a mapping with kind (asha, median, mean). "
            "Did you mean 'first'?",
        ),
        ("fallback: {kind: asha, grace_period: 0}", "fallback.grace_period: 0 must be at least 1"),
        (
            "fallback: {kind: ahsa}",
            "fallback.kind: 'ahsa' is not allowed. Did you mean 'asha'? Allowed: asha, median, mean",
        ),
        ("images: {hub: cifar10, spilt: test}", "images.spilt: unknown key. Did you mean 'split'? Allowed here: hub, split"),
        (
            "images: [digits]",
            "images: a list is not allowed: expected a mapping with folder or a mapping with hub, split or 'digits'",
        ),
        # the words of validators
        ("attention: {position: pre}", "attention.position: 'pre' is not available in this version. Allowed: branch_end"),
        ("backbone: {family: mobilenet}", "backbone.family: mobilenet is not available in this version. Allowed: resnet"),
        (
            "attention: {pools: {from: [avg], at_least: 3, at_most: 2}}",
            "attention.pools: at_most (2) is less than at_least (3)",
        ),
    ],
)
def test_a_mistake_is_explained(section: str, message: str) -> None:
    assert complaint(section) == f"2: {message}"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer: SGD", "'SGD' is not allowed. Did you mean 'sgd'? Allowed: sgd, adamw"),
        ("nesterov: maybe", "'maybe' is not allowed: expected true or false"),
        ("crop: [1]", "item [1] is missing: expected a list of 2 items"),
        ("crop: [1, 2, 3]", "a list has too many entries; at most 2 may stand here"),
        ("workers: atuo", "'atuo' is not allowed: expected a whole number or 'auto'. Did you mean 'auto'?"),
        ("workers: -1", "-1 must be at least 0"),
        ("precision: haf", "unknown precision 'haf'. Did you mean 'half'? Valid: half, full"),
        ("precision: [half]", "a list is not allowed: expected one of half, full"),
        ("precision: 16", "16 is not allowed: expected one of half, full"),
        ("clip: none", "'none' is not allowed: expected a number or null"),
        ("notes: 5", "5 is not allowed: expected a list, each item anything"),
        ("devices: 5", "5 is not allowed: expected a list, each item a whole number or 'auto'"),
        ("folder: 5", "5 is not allowed: expected text or a list of names or null"),
    ],
)
def test_a_wrong_setting_of_a_section_is_explained(setting: str, message: str) -> None:
    key = setting.partition(":")[0]

    assert complaints(f"training:\n  epochs: 3\n  {setting}") == [f"3: training.{key}: {message}"]


def test_a_section_that_is_absent_is_missed_in_the_files_first_line_with_content() -> None:
    assert complaints("# comment\n\nname: x") == ["3: missing key 'training'"]


def test_a_validator_of_a_section_speaks_at_the_sections_line() -> None:
    text = "training: {epochs: 3}\nattention:\n  pools:\n    from: [avg]\n    at_least: 3\n    at_most: 2"

    assert complaints(text) == ["3: attention.pools: at_most (2) is less than at_least (3)"]


def test_a_mistake_below_an_alias_is_shown_where_the_value_is_written() -> None:
    text = "training: {epochs: 3}\nschedulers:\n  - &first\n    kind: mean\n    quantile: 2\n  - *first"

    assert complaints(text) == [
        "5: schedulers[0].quantile: 2 must be less than 1",
        "5: schedulers[1].quantile: 2 must be less than 1",
    ]


def test_a_misspelt_key_is_not_also_missed_but_a_strange_one_is() -> None:
    assert len(complaints("training: {epcohs: 3}")) == 1
    assert len(complaints("training: {zzz: 3}")) == 2


def test_a_key_that_is_there_already_is_not_suggested() -> None:
    assert complaints("training: {epochs: 3, epoch: 3}")[0].startswith("1: training.epoch: unknown key. Allowed here:")


def test_what_cannot_be_printed_is_escaped() -> None:
    message = "\n".join(complaints('training: {epochs: "\\u202e"}\n"a\\nb": 1'))

    assert "epochs: '\\u202e' is not allowed" in message
    assert "'a\\nb': unknown key" in message
    message.encode()


def test_a_field_that_no_annotation_explains_keeps_pydantics_words() -> None:
    class Coded(Section):
        code: Annotated[str, Field(pattern="^[a-z]+$")]

    with pytest.raises(ConfigError, match=re.escape("f.yaml:1: code: String should match pattern '^[a-z]+$'; found 'A1'")):
        parse_yaml("code: A1", "f.yaml", Coded)


Path = tuple[str | int, ...]


def paths_of(value: Any, path: Path = ()) -> list[Path]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in below for inner in paths_of(item, (*path, key)))]


VALID_DATA: dict[str, Any] = yaml.safe_load(VALID.replace("4e-1", "0.4"))
OTHER_VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        21,
        1.5,
        float("inf"),
        10**299,
        "",
        "none",
        "avg",
        "asha",
        "frist",
        [],
        ["avg"],
        [[1]],
        {},
        {"kind": "asha"},
        {"from": 5},
    ]
).map(copy.deepcopy)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_mutation_of_a_valid_file_is_valid_or_one_config_error(data: st.DataObject) -> None:
    study = copy.deepcopy(VALID_DATA)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([path for path in paths_of(study) if path]))
        parent: Any = study
        for key in path[:-1]:
            parent = parent[key]
        match data.draw(st.sampled_from(["delete", "misspell", "replace"])), parent:
            case "misspell", dict():
                parent[str(path[-1])[:-1] + data.draw(st.sampled_from(["", "x", "_", "é"]))] = parent.pop(path[-1])
            case "delete", _:
                del parent[path[-1]]
            case _:
                parent[path[-1]] = data.draw(OTHER_VALUES)
        if not study:
            break
    text = yaml.safe_dump(study, sort_keys=False, allow_unicode=True, default_flow_style=data.draw(st.booleans()))

    try:
        parse_yaml(text, "space.yaml", Study)
    except ConfigError as error:
        *mistakes, closing = str(error).splitlines()
        last_line = text.count("\n") + 1
        for mistake in mistakes:
            file, line, message = mistake.split(":", 2)
            assert file == "space.yaml"
            assert 1 <= int(line) <= last_line
            assert message
            assert not re.search(r"function-|literal\[|constrained-|tuple\[|Sha|Median|PoolChoice|Input should", mistake)
        assert mistakes
        assert closing.endswith(CLOSING)


@pytest.mark.parametrize("odd", ["\x1b[31m", "\u202e", "\n", "x" * 10_000], ids=["escape", "bidi", "line end", "long"])
def test_odd_keys_and_values_are_shown_on_one_short_line(odd: str) -> None:
    for text in (yaml.safe_dump({odd + "key": 1}), yaml.safe_dump({"from": [odd + "value"], "at_least": odd})):
        with pytest.raises(ConfigError) as caught:
            parse_yaml(text, "s.yaml", PoolChoice)
        lines = str(caught.value).split("\n")
        assert all(line.isprintable() and len(line) < 1_000 for line in lines)
        assert lines[-1].endswith(CLOSING)
        assert all(line.startswith("s.yaml:") for line in lines[:-1])
