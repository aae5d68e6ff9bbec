"""Field types for settings that offer choices: one value, or a list of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from cbam_search.registry import unknown_name

T = TypeVar("T")


def _as_tuple(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return (value,)


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise PydanticCustomError("no_choice", "the list is empty; give at least one choice")
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise PydanticCustomError("repeated", "{value} is listed twice", {"value": str(repeated[0])})
    return values


class _OneOrList:
    """Makes the JSON schema say that a single value needs no list."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        array = handler(schema)
        return {"anyOf": [array.get("items", {}), array | {"minItems": 1}]}


Choices = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), AfterValidator(_distinct), _OneOrList()]
"""One or more distinct values; a single one needs no list."""


@dataclass(frozen=True)
class OneOf:
    """Annotation of a string that takes one of `valid`."""

    noun: str
    valid: tuple[str, ...]

    def check(self, name: str) -> str:
        if name not in self.valid:
            message = unknown_name(self.noun, name, self.valid)
            raise PydanticCustomError("unknown_name", "{message}", {"message": message})
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.valid)}
