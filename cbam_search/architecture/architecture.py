"""The one currency: an `Architecture` is a backbone and the attention at each of its sites."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny, field_validator, model_validator

import cbam_search.architecture.families
import cbam_search.architecture.kinds  # noqa: F401  (registers the kinds)
from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec
from cbam_search.architecture.backbone import FAMILIES, Backbone
from cbam_search.architecture.geometry import Geometry, Site
from cbam_search.architecture.registry import unknown_name
from cbam_search.errors import UnknownNameError

SCHEMA_VERSION = 1
"""Part of every digest: raised when the meaning of a canonical form changes."""


class Architecture(BaseModel):
    """A backbone and, in the order of its sites, the attention there (None where there is none).

    Raises ValueError (pydantic's) when the number of entries differs from the number of sites.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: Backbone
    attention: tuple[SerializeAsAny[AttentionSpec] | None, ...]

    @field_validator("attention", mode="before")
    @classmethod
    def _read_kinds(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(_read_spec(entry) for entry in value)
        return value

    @model_validator(mode="after")
    def _one_entry_a_site(self) -> Architecture:
        if len(self.attention) != len(self.sites):
            raise ValueError(
                f"{self.backbone.name} has {len(self.sites)} sites, but attention has {len(self.attention)} entries"
            )
        return self

    @cached_property
    def geometry(self) -> Geometry:
        return self.backbone.geometry()

    @property
    def sites(self) -> tuple[Site, ...]:
        return self.geometry.sites

    def canonical(self) -> Architecture:
        """The one form shared by all architectures that compute the same function."""
        attention = tuple(
            spec.canonical(site.channels) if spec is not None else None
            for site, spec in zip(self.sites, self.attention, strict=True)
        )
        return Architecture(backbone=self.backbone.canonical(), attention=attention)

    @cached_property
    def canonical_json(self) -> str:
        """Canonical form as JSON with sorted keys and no spaces."""
        return json.dumps(self.canonical().model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the schema version and the canonical JSON, in hexadecimal."""
        return hashlib.sha256(f"architecture/{SCHEMA_VERSION}\n{self.canonical_json}".encode()).hexdigest()

    @cached_property
    def published_name(self) -> str | None:
        """`resnet50+cbam` and the like where this is a published design, else None."""
        for kind in (None, *ATTENTION_KINDS):
            if self.digest == published(self.backbone, kind).digest:
                return self.backbone.name + (f"+{kind}" if kind else "")
        return None

    @property
    def label(self) -> str:
        """A short line for tables: the published name, or the backbone with its kinds counted."""
        if self.published_name:
            return self.published_name
        counts = Counter(spec.kind for spec in self.canonical().attention if spec is not None)
        placed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        return f"{self.backbone.name} [{placed} / {len(self.sites)} sites]"

    @classmethod
    def named(cls, name: str, *, in_channels: int = 3, classes: int = 1000) -> Architecture:
        """The published design of this name, such as `resnet50+cbam`; raises UnknownNameError."""
        base, plus, kind = name.partition("+")
        if plus and kind not in ATTENTION_KINDS:
            raise UnknownNameError(f"architecture '{name}': {_unknown_kind(kind)}")
        for family_name in FAMILIES:
            settings = FAMILIES[family_name].parse(base)
            if settings is None:
                continue
            try:
                backbone = Backbone.model_validate(
                    {"family": family_name, "in_channels": in_channels, "classes": classes, **settings}
                )
            except ValueError as error:
                raise UnknownNameError(f"architecture '{name}': {_first_message(error)}") from None
            return published(backbone, kind or None)
        examples = ", ".join(example for family in FAMILIES for example in FAMILIES[family].example_names())
        raise UnknownNameError(
            f"unknown architecture '{name}'. Names are BACKBONE or BACKBONE+KIND, with BACKBONE such as {examples} "
            f"and KIND one of {', '.join(ATTENTION_KINDS)}"
        )


def published(backbone: Backbone, kind: str | None) -> Architecture:
    """`backbone` with `kind` at every site, with its settings as published (its defaults); bare for None."""
    spec = ATTENTION_KINDS[kind].model_validate({"kind": kind}) if kind else None
    return Architecture(backbone=backbone, attention=(spec,) * len(backbone.geometry().sites))


def _read_spec(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in ATTENTION_KINDS:
        raise ValueError(_unknown_kind(kind))
    return ATTENTION_KINDS[kind].model_validate(entry)


def _unknown_kind(kind: object) -> str:
    return unknown_name("attention kind", str(kind), ATTENTION_KINDS.names())


def _first_message(error: ValueError) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return str(error)
