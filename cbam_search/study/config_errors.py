"""From pydantic's ValidationError to one ConfigError that lists every mistake where the reader wrote it.

Pydantic says where a mistake is by a path through its own validators, in which tags and function names stand between
the keys of the YAML. The path is therefore walked along the model's annotations: what is a key stays, what is the name
of a union's branch chooses the branch, and the errors of several branches become one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

from cbam_search.errors import ConfigError
from cbam_search.safe_text import printable
from cbam_search.study.config_types import (
    allowed_values,
    child,
    discriminator,
    keys,
    members_by_tag,
    tagged_members,
    union_members,
)
from cbam_search.study.config_words import (
    BEYOND_LIMIT,
    expected,
    missing,
    missing_tag,
    nearest,
    not_allowed,
    shown,
    unknown_key,
)

KeyPath = tuple[str | int, ...]

_PYDANTIC_KINDS = frozenset(get_args(ErrorType))
_LONGEST_MISTAKE = 3000
_LONGEST_KEY = 80
_WRONG_VALUE_KINDS = frozenset({"literal_error", "enum", "int_from_float", "int_parsing_size", "is_instance_of"})


@dataclass(frozen=True)
class Mistake:
    """One thing to mend: the line it is on, the path of its key, and what is wrong with it."""

    line: int
    path: KeyPath
    text: str


@dataclass(frozen=True)
class _Error:
    """One of pydantic's line errors; `loc` is what is left of its path below the place reached so far."""

    loc: KeyPath
    kind: str
    message: str
    value: Any
    limits: Mapping[str, Any]

    @property
    def is_wrong_kind_of_value(self) -> bool:
        """Whether the value was refused as a whole, not for its size or for something inside it."""
        wrong_type = self.kind in _PYDANTIC_KINDS and self.kind.endswith(("_type", "_parsing"))
        return not self.loc and (wrong_type or self.kind in _WRONG_VALUE_KINDS)


def config_error(file_name: str, mistakes: Sequence[str]) -> ConfigError:
    """The error that shows `mistakes`, one line each, and what to do about them."""
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    what_to_do = f"{count} in {file_name}; nothing was started. `cbam-search schema` prints every key."
    return ConfigError("\n".join(printable(line, _LONGEST_MISTAKE) for line in [*mistakes, what_to_do]))


def explain(error: ValidationError, model: type[BaseModel], file_name: str, lines: Mapping[KeyPath, int]) -> ConfigError:
    """All mistakes that `model` found, in the order of their lines.

    `lines` gives the line of every key path in the file, the empty path among them.
    """
    found = sorted(find_mistakes(error, model, lines), key=lambda mistake: mistake.line)
    return config_error(file_name, [f"{file_name}:{each.line}: {_label(each.path)}{each.text}" for each in found])


def find_mistakes(error: ValidationError, model: type[BaseModel], lines: Mapping[KeyPath, int]) -> list[Mistake]:
    """The mistakes in `error`, each at a key path that the file holds."""
    errors = [
        _Error(item["loc"], item["type"], _message(item), item["input"], item.get("ctx", {}))
        for item in error.errors(include_url=False)
    ]
    return _Explainer(lines).explain(errors, model, ())


def _message(item: Any) -> str:
    """Pydantic's text; for a ValueError or assertion of a validator, its own words without pydantic's prefix."""
    return str(item["ctx"]["error"]) if item["type"] in ("value_error", "assertion_error") else str(item["msg"])


def _label(path: KeyPath) -> str:
    """`attention.pools[1]: `, and nothing for the whole file."""
    label = ""
    for key in path:
        if isinstance(key, int):
            label += f"[{key}]"
        else:
            label += f".{printable(key if key.isprintable() else ascii(key), _LONGEST_KEY)}"
    return f"{label.removeprefix('.')}: " if path else ""


class _Explainer:
    """Walks errors and annotations downwards together; every method returns the mistakes at and below `path`."""

    def __init__(self, lines: Mapping[KeyPath, int]) -> None:
        self._lines = lines

    def explain(self, errors: Sequence[_Error], annotation: Any, path: KeyPath) -> list[Mistake]:
        mistakes = [self._refused(error, annotation, path) for error in errors if not error.loc]
        below: dict[str | int, list[_Error]] = {}
        for error in errors:
            if error.loc:
                below.setdefault(error.loc[0], []).append(replace(error, loc=error.loc[1:]))
        if tag_key := discriminator(annotation):
            members = tagged_members(annotation, tag_key)
            for tag, inner in below.items():
                mistakes += self.explain(inner, members.get(str(tag), Any), path)
        elif by_tag := members_by_tag(annotation):
            for tag, inner in below.items():
                mistakes += self.explain(inner, by_tag.get(str(tag), Any), path)
        elif below and union_members(annotation):
            mistakes += self._in_union(list(below.values()), annotation, path)
        elif below:
            mistakes += self._in_container(below, annotation, path)
        return mistakes

    def _in_union(self, by_branch: list[list[_Error]], annotation: Any, path: KeyPath) -> list[Mistake]:
        """The mistakes of the branch that came closest; if none took this kind of value, one sentence on all of them.

        Pydantic reports the branches in their order, each with an error at least.
        """
        members = union_members(annotation)
        branches = members if len(members) == len(by_branch) else (Any,) * len(by_branch)
        took_it = [
            self.explain(errors, branch, path)
            for errors, branch in zip(by_branch, branches, strict=True)
            if not all(error.is_wrong_kind_of_value for error in errors)
        ]
        if took_it:
            return min(took_it, key=len)
        return [self._mistake(path, expected(by_branch[0][0].value, annotation))]

    def _in_container(self, below: Mapping[str | int, list[_Error]], annotation: Any, path: KeyPath) -> list[Mistake]:
        mistakes: list[Mistake] = []
        absent = {key for key, errors in below.items() if _is_only(errors, "missing")}
        misspelled = set()
        for key in [key for key in below if key not in absent]:
            errors, here = below[key], (*path, key) if (*path, key) in self._lines else path
            refused_key = any(error.loc == ("[key]",) for error in errors)
            if _is_only(errors, "extra_forbidden") or (refused_key and keys(annotation)):
                meant = self._closest_key(key, annotation, path)
                misspelled.add(meant)
                mistakes.append(self._mistake(here, unknown_key(meant, keys(annotation))))
            elif refused_key:
                mistakes.append(self._mistake(here, f"bad key: {errors[0].message}"))
            else:
                mistakes += self.explain(errors, child(annotation, key), here)
        return mistakes + [self._mistake(path, missing(key, annotation)) for key in below if key in absent - misspelled]

    def _closest_key(self, key: str | int, annotation: Any, path: KeyPath) -> Any | None:
        return nearest(key, [name for name in keys(annotation) if (*path, str(name)) not in self._lines])

    def _refused(self, error: _Error, annotation: Any, path: KeyPath) -> Mistake:
        """The mistake of an error at this very place."""
        if error.kind == "union_tag_invalid" and (tag_key := discriminator(annotation)):
            tag_path = (*path, tag_key) if (*path, tag_key) in self._lines else path
            return self._mistake(tag_path, not_allowed(error.limits["tag"], tuple(tagged_members(annotation, tag_key))))
        if error.kind == "union_tag_not_found" and (tag_key := discriminator(annotation)):
            return self._mistake(path, missing_tag(tag_key, error.value, annotation))
        if error.kind in ("literal_error", "enum"):
            allowed = allowed_values(annotation)
            return self._mistake(path, not_allowed(error.value, allowed, error.limits.get("expected", "")))
        if error.is_wrong_kind_of_value and annotation is not Any:
            return self._mistake(path, expected(error.value, annotation))
        if error.kind in BEYOND_LIMIT:
            return self._mistake(path, f"{shown(error.value)} {BEYOND_LIMIT[error.kind](error.limits)}")
        if error.kind in _PYDANTIC_KINDS - {"value_error", "assertion_error"}:
            return self._mistake(path, f"{error.message}; found {shown(error.value)}")
        # What concerns several sections is found above them, and says itself what to change.
        at = (*path, *error.limits.get("at", ()))
        return self._mistake(at if at in self._lines else path, error.message)

    def _mistake(self, path: KeyPath, text: str) -> Mistake:
        return Mistake(self._lines[path], path, text)


def _is_only(errors: Sequence[_Error], kind: str) -> bool:
    return all(error.kind == kind and not error.loc for error in errors)
