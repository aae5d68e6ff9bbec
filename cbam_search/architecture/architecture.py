"""The one currency: an `Architecture` is a backbone and the attention at its sites."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    SerializationInfo,
    Tag,
    ValidationInfo,
    field_serializer,
    field_validator,
)

import cbam_search.architecture.families
import cbam_search.architecture.kinds  # noqa: F401  (registers the kinds)
from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec
from cbam_search.architecture.backbone import FAMILIES, Backbone
from cbam_search.architecture.geometry import Site
from cbam_search.architecture.own_backbone import OwnBackbone
from cbam_search.errors import UnknownNameError
from cbam_search.registry import unknown_name

SCHEMA_VERSION = 2
"""Part of every digest: raised when the meaning of a canonical form changes."""


def _published_or_own(backbone: Any) -> str:
    family = backbone.get("family") if isinstance(backbone, Mapping) else getattr(backbone, "family", None)
    return "own" if family == "own" else "published"


AnyBackbone = Backbone | OwnBackbone
_Backbone = Annotated[
    Annotated[Backbone, Tag("published")] | Annotated[OwnBackbone, Tag("own")],
    Discriminator(_published_or_own),
]


class Architecture(BaseModel):
    """A backbone and what attention it has where.

    attention: (name of a site, spec) in the order of the backbone's sites; given as a mapping by name of site, which is how
    JSON has it too. Raises ValueError (pydantic's) for a site that the backbone does not have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: _Backbone
    attention: tuple[tuple[str, AttentionSpec], ...] = ()

    @field_validator("attention", mode="plain")
    @classmethod
    def _read_attention(cls, value: Any, info: ValidationInfo) -> tuple[tuple[str, AttentionSpec], ...]:
        backbone: AnyBackbone | None = info.data.get("backbone")
        if backbone is None:
            return ()
        given = _as_mapping(value)
        names = [site.name for site in backbone.sites]
        unknown = [str(name) for name in given if name not in set(names)]
        if unknown:
            raise ValueError(f"{backbone.name}: {unknown_name('site', unknown[0], tuple(names))}")
        return tuple((name, _read_spec(given[name])) for name in names if given.get(name) is not None)

    @field_serializer("attention")
    def _by_site(self, attention: tuple[tuple[str, AttentionSpec], ...], info: SerializationInfo) -> dict[str, Any]:
        return {name: spec.model_dump(mode=info.mode) for name, spec in attention}

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every place where attention could sit."""
        return self.backbone.sites

    @cached_property
    def placed(self) -> tuple[tuple[Site, AttentionSpec], ...]:
        """The sites that have attention, with it."""
        specs = dict(self.attention)
        return tuple((site, specs[site.name]) for site in self.sites if site.name in specs)

    def canonical(self) -> Architecture:
        """The one form shared by all architectures that compute the same function."""
        attention = {site.name: spec.canonical(site.channels) for site, spec in self.placed}
        return Architecture(backbone=self.backbone.canonical(), attention=attention)

    @cached_property
    def canonical_json(self) -> str:
        """Canonical form as JSON with sorted keys and no spaces."""
        return json.dumps(self.canonical().model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the schema version and the canonical JSON, in hexadecimal."""
        return hashlib.sha256(f"architecture/{SCHEMA_VERSION}\n{self.canonical_json}".encode()).hexdigest()

    def trust_digest(self, digest: str) -> None:
        """Take `digest`, which was worked out before and recorded beside this architecture, for its own: that saves time."""
        self.__dict__["digest"] = digest

    @cached_property
    def published_name(self) -> str | None:
        """`resnet50+cbam` and the like where this is a published design, else None."""
        kinds = {spec.kind for _, spec in self.canonical().attention}
        for kind in kinds if len(kinds) == 1 else () if kinds else (None,):
            if self.digest == published(self.backbone, kind).digest:
                return self.backbone.name + (f"+{kind}" if kind else "")
        return None

    @property
    def label(self) -> str:
        """A short line for tables: the published name, or the backbone with its kinds counted."""
        if self.published_name:
            return self.published_name
        counts = Counter(spec.kind for _, spec in self.canonical().attention)
        placed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        return f"{self.backbone.name} [{placed}]"

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


def published(backbone: AnyBackbone, kind: str | None) -> Architecture:
    """`backbone` with `kind` where published designs have it, with its settings as published (its defaults); bare for None."""
    if kind is None:
        return Architecture(backbone=backbone)
    spec = ATTENTION_KINDS[kind].model_validate({"kind": kind})
    sites = spec.published_sites(backbone.sites, backbone.default_position)
    return Architecture(backbone=backbone, attention={site.name: spec for site in sites})


def _as_mapping(value: Any) -> dict[str, Any]:
    try:
        return dict(value)
    except (TypeError, ValueError):
        raise ValueError("attention is a mapping from the names of sites to what they have") from None


def _read_spec(entry: Any) -> AttentionSpec:
    if isinstance(entry, AttentionSpec):
        return entry
    if not isinstance(entry, Mapping):
        raise ValueError(f"attention at a site is a mapping with a kind and its settings; found {entry!r}")
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
