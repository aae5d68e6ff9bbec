"""What decides a result: marked fields and defaults do not, whatever they are nested in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

from cbam_search.identity import DECIDES_NOTHING, differences, identity
from cbam_search.search.config import SearchConfig, StopConfig
from cbam_search.training.config import TrainingConfig


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(Frozen):
    epochs: int
    lr: float = 0.1
    augment: tuple[str, ...] = ()
    log_every: Annotated[int, DECIDES_NOTHING] = 10


class Grid(Frozen):
    kind: Literal["grid"] = "grid"
    points: int = 5


class Random(Frozen):
    kind: Literal["random"] = "random"
    points: int = 5


class Settings(Frozen):
    """One field of every sort."""

    folder: Annotated[Path, DECIDES_NOTHING] = Path("studies")
    workers: Annotated[int, Field(ge=1), DECIDES_NOTHING] = 1
    keep: Annotated[Recipe | None, DECIDES_NOTHING] = None
    seed: int = 0
    recipe: Recipe = Recipe(epochs=30)
    sampler: Grid | Random = Grid()
    recipes: tuple[Recipe, ...] = ()
    by_name: dict[str, Recipe | int] = Field(default_factory=dict)
    weights: Path | None = None


def test_where_all_is_at_its_default_nothing_is_left() -> None:
    assert identity(Settings()) == {}
    assert differences(Settings(), Settings()) == ()


def test_a_required_field_is_there_whatever_it_is() -> None:
    assert identity(Recipe(epochs=30)) == {"epochs": 30}


def test_marked_fields_do_not_count() -> None:
    given = Settings(folder=Path("/elsewhere"), workers=8, keep=Recipe(epochs=1))
    assert identity(given) == {}
    assert differences(Settings(), given) == ()


def test_marked_fields_of_a_nested_model_do_not_count_wherever_it_is() -> None:
    quiet, chatty = Recipe(epochs=3), Recipe(epochs=3, log_every=1)
    for one, other in (
        (Settings(recipe=quiet), Settings(recipe=chatty)),
        (Settings(recipes=(quiet, quiet)), Settings(recipes=(quiet, chatty))),
        (Settings(by_name={"a": quiet}), Settings(by_name={"a": chatty})),
    ):
        assert identity(one) == identity(other) != {}
        assert differences(one, other) == ()


def test_fields_given_at_their_default_do_not_count() -> None:
    given = Settings(seed=0, recipe=Recipe(epochs=30, lr=0.1), sampler=Grid(points=5), recipes=(), by_name={}, weights=None)
    assert identity(given) == {}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"seed": 1}, 1),
        ({"recipe": Recipe(epochs=30, lr=0.2)}, {"": "Recipe", "epochs": 30, "lr": 0.2}),
        ({"sampler": Grid(points=6)}, {"": "Grid", "points": 6}),
        ({"recipes": (Recipe(epochs=2),)}, [{"": "Recipe", "epochs": 2}]),
        ({"by_name": {"a": Recipe(epochs=2), "b": 3}}, {"a": {"": "Recipe", "epochs": 2}, "b": 3}),
        ({"weights": Path("start.safetensors")}, "start.safetensors"),
    ],
)
def test_any_other_field_counts_and_is_named(changed: dict[str, object], expected: object) -> None:
    (name,) = changed
    given = Settings(**changed)  # type: ignore[arg-type]
    assert identity(given) == {name: expected}
    assert json.loads(json.dumps(identity(given))) == identity(given)
    assert differences(Settings(), given) == differences(given, Settings()) == (name,)


def test_a_nested_default_is_that_of_the_field_and_not_that_of_the_nested_model() -> None:
    """`recipe` is of 30 epochs by default and `stop` of 5, while a `Stop` on its own is of 9."""

    class Stop(Frozen):
        epochs: int = 9

    class Outer(Frozen):
        stop: Stop = Stop(epochs=5)

    assert identity(Outer()) == {}
    assert identity(Outer(stop=Stop())) == {"stop": {"": "Stop"}}
    assert differences(Outer(), Outer(stop=Stop())) == ("stop",)


def test_members_of_a_union_are_told_apart_where_all_their_fields_are_alike() -> None:
    assert identity(Settings(sampler=Random())) == {"sampler": {"": "Random"}}
    assert differences(Settings(), Settings(sampler=Random())) == ("sampler",)
    assert differences(Settings(by_name={"a": 2}), Settings(by_name={"a": Recipe(epochs=2)})) == ("by_name",)


class Listed(Frozen):
    names: list[str] | tuple[str, ...] = ("a", "b")


def test_tuples_and_lists_are_one() -> None:
    assert identity(Listed(names=["a", "b"])) == {}
    assert identity(Listed(names=["b", "a"])) == identity(Listed(names=("b", "a"))) == {"names": ["b", "a"]}
    assert differences(Listed(names=["b", "a"]), Listed(names=("b", "a"))) == ()


def test_their_order_counts_and_that_of_a_mapping_does_not() -> None:
    assert differences(Recipe(epochs=2, augment=("crop", "flip")), Recipe(epochs=2, augment=("flip", "crop"))) == ("augment",)
    one, other = {"a": 1, "b": Recipe(epochs=2)}, {"b": Recipe(epochs=2), "a": 1}
    assert differences(Settings(by_name=one), Settings(by_name=other)) == ()  # type: ignore[arg-type]


def test_differences_are_named_in_the_order_of_the_fields() -> None:
    given = Settings(weights=Path("w"), recipes=(Recipe(epochs=1),), seed=3, workers=4)
    assert differences(Settings(), given) == ("seed", "recipes", "weights")


def test_a_model_that_gains_a_key_with_a_default_keeps_its_identity() -> None:
    """The same settings, as the model was and as it is: at the top, nested, in a union and in a list."""

    def settings(*, newer: bool) -> type[BaseModel]:
        gained = {"ema": (bool, False), "clip": (float | None, None)} if newer else {}
        recipe = create_model("Recipe", epochs=(int, ...), lr=(float, 0.1), **gained)  # type: ignore[call-overload]
        return create_model(  # type: ignore[call-overload,no-any-return]
            "Settings",
            epochs=(int, ...),
            recipe=(recipe, recipe(epochs=30)),
            either=(recipe | int, 1),
            several=(list[recipe], []),
            **gained,
        )

    stored = {"epochs": 7, "recipe": {"epochs": 3, "lr": 0.3}, "either": {"epochs": 4}, "several": [{"epochs": 5}]}
    before, now = settings(newer=False).model_validate(stored), settings(newer=True).model_validate(stored)
    assert "ema" not in before.model_dump()
    assert "ema" in now.model_dump()
    assert identity(before) == identity(now)
    assert set(identity(now)) == set(stored)
    for place in ({"ema": True}, {"recipe": {"epochs": 3, "lr": 0.3, "ema": True}}, {"either": {"epochs": 4, "ema": True}}):
        changed = type(now).model_validate(stored | place)
        assert differences(now, changed) == tuple(place)


def test_the_settings_of_a_study_say_what_decides() -> None:
    elsewhere = SearchConfig(trials=7, stop=StopConfig(hours=2), evaluation_cache="cache")
    assert differences(SearchConfig(), elsewhere) == ()
    assert differences(SearchConfig(), SearchConfig(sampler="tpe", trials=7)) == ("sampler",)
    assert identity(TrainingConfig(epochs=30, augment=["crop"], lr=0.2)) == {"lr": 0.2, "augment": ["crop"]}  # type: ignore[arg-type]
    read_again = SearchConfig.model_validate_json(elsewhere.model_dump_json())
    assert identity(read_again) == identity(elsewhere) == {}
