"""The sentences that say what is wrong with a value, and what may stand in its place."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from cbam_search.study.config_types import (
    admits_null,
    allowed_values,
    child,
    discriminator,
    fields,
    is_fixed_tuple,
    keys,
    names_of,
    tagged_members,
    union_members,
    unwrap,
)

_LONGEST_SHOWN = 60
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    Path: "a path",
    Any: "anything",
}
_PLURALS = {int: "whole numbers", float: "numbers", str: "names"}

BEYOND_LIMIT: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda limit: f"must be more than {_plain(limit['gt'])}",
    "greater_than_equal": lambda limit: f"must be at least {_plain(limit['ge'])}",
    "less_than": lambda limit: f"must be less than {_plain(limit['lt'])}",
    "less_than_equal": lambda limit: f"must be at most {_plain(limit['le'])}",
    "multiple_of": lambda limit: f"must be a multiple of {limit['multiple_of']}",
    "finite_number": lambda _: "must be a finite number",
    "too_short": lambda limit: f"of {limit['actual_length']} entries is too short; at least {limit['min_length']} needed",
    "too_long": lambda limit: f"has too many entries; at most {limit['max_length']} may stand here",
    "string_too_short": lambda limit: f"must have at least {limit['min_length']} characters",
    "string_too_long": lambda limit: f"must have at most {limit['max_length']} characters",
}
"""Kind of pydantic error -> what follows the value found, given the error's context."""


def _plain(number: Any) -> Any:
    """A whole number without the `.0` that pydantic gives it."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def not_allowed(value: Any, allowed: Sequence[Any], otherwise: str = "") -> str:
    """A value that is none of `allowed`; `otherwise` says what is allowed when that cannot be listed."""
    return _with_nearest(f"{shown(value)} is not allowed.", value, allowed, f"Allowed: {listed(allowed) or otherwise}")


def expected(value: Any, annotation: Any) -> str:
    """A value of a kind that `annotation` does not take."""
    wanted = describe(annotation)
    problem = f"{shown(value)} is not allowed: expected {wanted}."
    if _is_number(value) and wanted == "text":
        return f"{problem} In quotes it is text: '{value}'"
    names = [name for member in union_members(annotation) or (annotation,) for name in allowed_values(member)]
    return _with_nearest(problem, value, names).removesuffix(".")


def unknown_key(meant: str | None, allowed: Sequence[Any]) -> str:
    """A key that stands where only `allowed` may; `meant` is the likely one."""
    suggestion = "" if meant is None else f" Did you mean '{meant}'?"
    return f"unknown key.{suggestion} Allowed here: {listed(allowed) or 'no key'}"


def missing(key: str | int, annotation: Any) -> str:
    """A key that the section of type `annotation` needs, with its description, or an item that a list needs."""
    if isinstance(key, int):
        return f"item [{key}] is missing: expected {describe(annotation)}"
    field = fields(annotation).get(key)
    return f"missing key '{key}'" + (f": {field.description}" if field and field.description else "")


def missing_tag(tag_key: str, section: Any, annotation: Any) -> str:
    """A section of a discriminated union without the key that tells which member it is."""
    written = nearest(tag_key, section) if isinstance(section, dict) else None
    suggestion = f" Did you mean it by {shown(written)}?" if written else ""
    return f"missing key '{tag_key}'.{suggestion} Allowed: {listed(tagged_members(annotation, tag_key))}"


def describe(annotation: Any) -> str:
    """What may stand there: "a list of whole numbers", "a mapping with from, at_least, at_most"."""
    words = _describe(annotation)
    return f"{words} or null" if admits_null(annotation) else words


def _describe(annotation: Any) -> str:
    bare = unwrap(annotation)
    origin = get_origin(bare)
    if tag_key := discriminator(annotation):
        return f"a mapping with {tag_key} ({listed(tagged_members(annotation, tag_key))})"
    if members := union_members(bare):
        return " or ".join(dict.fromkeys(describe(member) for member in members))
    if values := names_of(annotation) or allowed_values(bare):
        return shown(values[0]) if len(values) == 1 else f"one of {listed(values)}"
    if fields(bare) or bare is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f"a mapping with {listed(keys(bare))}" if keys(bare) else "a mapping"
    if isinstance(origin, type):
        return f"a list of {len(get_args(bare))} items" if is_fixed_tuple(bare) else _describe_list(child(bare, 0))
    return _WORDS[bare] if bare in _WORDS else str(getattr(bare, "__name__", bare))


def _describe_list(item: Any) -> str:
    if values := names_of(item) or allowed_values(item):
        return f"a list of any of {listed(values)}"
    bare = unwrap(item)
    return f"a list of {_PLURALS[bare]}" if bare in _PLURALS else f"a list, each item {describe(item)}"


def _with_nearest(problem: str, value: Any, allowed: Sequence[Any], allowed_words: str = "") -> str:
    """The problem, what is allowed, and the nearest allowed value: a word before the list, a number after it."""
    close = None if isinstance(value, dict | list | tuple) else nearest(value, allowed)
    if close is None:
        sentences = [problem, allowed_words]
    elif _is_number(value) and _is_number(close):
        sentences = [problem, allowed_words and f"{allowed_words}.", f"Nearest: {close}"]
    else:
        sentences = [problem, f"Did you mean {shown(close)}?", allowed_words]
    return " ".join(sentence for sentence in sentences if sentence)


def nearest(value: Any, allowed: Iterable[Any]) -> Any | None:
    """The allowed value closest to `value`: by spelling, whatever the case; by distance among numbers. None if none is."""
    choices = list(allowed)
    if _is_number(value) and choices and all(_is_number(choice) for choice in choices):
        is_nan = value != value
        return None if is_nan else min(choices, key=lambda choice: abs(choice - value))
    by_spelling = {_folded(choice): choice for choice in choices}
    close = difflib.get_close_matches(_folded(value), by_spelling, n=1)
    return by_spelling[close[0]] if close else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _folded(value: Any) -> str:
    return str(value)[:_LONGEST_SHOWN].casefold().replace("-", "_").replace(" ", "_")


def listed(values: Iterable[Any]) -> str:
    """Values for a message, in their order, text without quotes."""
    return ", ".join(value if isinstance(value, str) else shown(value) for value in values)


def shown(value: Any) -> str:
    """A value from the YAML as a message quotes it, on one line and no longer than a line."""
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "an empty value" if value is None else str(value).lower()
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
