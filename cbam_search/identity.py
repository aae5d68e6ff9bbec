"""Which settings decide a result: what two runs must have in common before their results may stand side by side.

A model marks the fields that decide nothing (where it runs, what is kept, how it is shown):

    folder: Annotated[Path, DECIDES_NOTHING] = Path("studies")

All others are its identity. Settings that were stored are compared by reading them through today's model first. Fields at their
default are left out, so that a new key with a default changes no identity that was stored before. A default that changes is a
change of results, and has its own guard: see `cbam_search.training.numerics`.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python


class _DecidesNothing:
    """The mark itself; there is one."""

    def __repr__(self) -> str:
        return "DECIDES_NOTHING"


DECIDES_NOTHING = _DecidesNothing()


def identity(model: BaseModel) -> dict[str, Any]:
    """The fields of `model` that decide a result and are not at their default, by name, as plain JSON values."""
    found: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        if DECIDES_NOTHING in field.metadata:
            continue
        value = getattr(model, name)
        if field.is_required() or not _same(_plain(value), _plain(field.get_default(call_default_factory=True))):
            found[name] = _plain(value)
    return found


def differences(one: BaseModel, other: BaseModel) -> tuple[str, ...]:
    """Names of the fields, in their order, in which two models of one type decide something else."""
    here, there = identity(one), identity(other)
    return tuple(name for name in type(one).model_fields if not _same(here.get(name), there.get(name)))


def _same(one: Any, other: Any) -> bool:
    """As JSON, in which 1 is neither 1.0 nor true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {"": type(value).__name__, **identity(value)}
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return to_jsonable_python(value)
