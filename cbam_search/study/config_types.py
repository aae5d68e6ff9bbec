"""What a pydantic annotation allows: the keys of a section, the values of a choice, the type below a key.

An annotation here is anything that may stand after a field's colon: a class, `Literal`, `Optional`, `Union`, `tuple`,
`dict`, `Annotated` around any of them, or a model. `Any` stands for "not known".
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo
from pydantic.types import Discriminator, Tag

from cbam_search.space.choices import OneOf


def unwrap(annotation: Any) -> Any:
    """The annotation without validators, aliases, root models and an `Optional` around a single type."""
    while True:
        members = _members(annotation)
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif len(members) == 1:
            annotation = members[0]
        elif isinstance(annotation, type) and issubclass(annotation, RootModel):
            annotation = annotation.model_fields["root"].annotation
        elif hasattr(annotation, "__value__"):  # a `type X = ...` alias
            annotation = annotation.__value__
        else:
            return annotation


def _members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union without None; empty when it is none."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return ()
    return tuple(member for member in get_args(annotation) if member is not type(None))


def admits_null(annotation: Any) -> bool:
    """Whether null may stand there beside something else."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return bool(_members(annotation)) and type(None) in get_args(annotation)


def union_members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union of two or more types, None apart, in their order; empty when it is no such union."""
    return _members(unwrap(annotation))


def discriminator(annotation: Any) -> str | None:
    """The key that tells the members of a discriminated union apart; None for every other annotation."""
    while get_origin(annotation) is Annotated or len(_members(annotation)) == 1:
        inner, *metadata = get_args(annotation) if get_origin(annotation) is Annotated else _members(annotation)
        for marker in metadata:
            if isinstance(marker, FieldInfo | Discriminator) and isinstance(marker.discriminator, str):
                return marker.discriminator
        annotation = inner
    return None


def tagged_members(annotation: Any, key: str) -> dict[str, Any]:
    """Tag -> member of a union discriminated by `key`."""
    members = union_members(annotation) or (unwrap(annotation),)
    return {str(tag): member for member in members for tag in allowed_values(child(member, key))}


def members_by_tag(annotation: Any) -> dict[str, Any]:
    """Tag -> member of a union whose members are told apart by a function; empty for every other annotation."""
    tags = {
        marker.tag: member
        for member in union_members(annotation)
        for marker in getattr(member, "__metadata__", ())
        if isinstance(marker, Tag)
    }
    return tags if len(tags) == len(union_members(annotation)) else {}


def fields(annotation: Any) -> dict[str, FieldInfo]:
    """Key as the YAML spells it -> field, when the annotation is a model; else empty."""
    model = unwrap(annotation)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    return {_key(name, field): field for name, field in model.model_fields.items()}


def _key(name: str, field: FieldInfo) -> str:
    return field.validation_alias if isinstance(field.validation_alias, str) else field.alias or name


def child(annotation: Any, key: str | int) -> Any:
    """The type of what stands below `key`: a field, an item of a list, or a value of a mapping."""
    if field := fields(annotation).get(str(key)):
        return Annotated[field.annotation, field]
    bare = unwrap(annotation)
    origin, args = get_origin(bare), get_args(bare)
    if not isinstance(origin, type) or not args:
        return Any
    if issubclass(origin, Mapping):
        return args[1]
    if is_fixed_tuple(bare):
        return args[key] if isinstance(key, int) and key < len(args) else Any
    return args[0]


def keys(annotation: Any) -> tuple[Any, ...]:
    """The keys that a section may hold; empty when any key may stand there."""
    if named := fields(annotation):
        return tuple(named)
    bare = unwrap(annotation)
    origin, args = get_origin(bare), get_args(bare)
    return allowed_values(args[0]) if isinstance(origin, type) and issubclass(origin, Mapping) and args else ()


def allowed_values(annotation: Any) -> tuple[Any, ...]:
    """The values of a `Literal`, an `Enum`, or a union of such alone; empty when they cannot all be listed."""
    bare = unwrap(annotation)
    if members := _members(bare):
        of_each = [allowed_values(member) for member in members]
        return tuple(value for values in of_each for value in values) if all(of_each) else ()
    if get_origin(bare) is Literal:
        return tuple(value.value if isinstance(value, Enum) else value for value in get_args(bare))
    if isinstance(bare, type) and issubclass(bare, Enum):
        return tuple(member.value for member in bare)
    return ()


def names_of(annotation: Any) -> tuple[str, ...]:
    """The names that a text may be, where `OneOf` says so; empty when it may be any text."""
    while get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
        inner = [found for marker in metadata if isinstance(marker, FieldInfo) for found in marker.metadata]
        for marker in (*metadata, *inner):
            if isinstance(marker, OneOf):
                return marker.valid
    return ()


def is_fixed_tuple(bare: Any) -> bool:
    """Whether it is a tuple of a stated length, each item with a type of its own."""
    return get_origin(bare) is tuple and Ellipsis not in get_args(bare)
