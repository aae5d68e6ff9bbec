"""Which backbone: a family and its settings, checked and made canonical by the family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cbam_search.architecture.geometry import Geometry, Site, Stem
from cbam_search.registry import Registry

Variant = Literal["v1", "v1.5"]


class Backbone(BaseModel):
    """A backbone without attention.

    width: factor on the channels of every stage (what it does to the stem is the family's to say). cardinality, base_width:
    groups of the 3x3 convolutions and the width of one group in the first stage. variant: bottlenecks carry their
    stride on the first 1x1 convolution (v1, as published) or on the 3x3 (v1.5). Raises ValueError for settings that the
    family cannot have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    depth: int
    width: float = Field(default=1.0, gt=0, le=64, allow_inf_nan=False)
    cardinality: int = Field(default=1, ge=1)
    base_width: int = Field(default=64, ge=1)
    variant: Variant = "v1"
    stem: Stem = "imagenet"
    in_channels: int = Field(default=3, ge=1)
    classes: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Backbone:
        FAMILIES[self.family].check(self)
        return self

    def geometry(self) -> Geometry:
        """Stem, blocks and head with their channels and strides."""
        return _geometry(self)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Every place where attention may sit, in the order of a forward pass."""
        return _sites(self)

    @property
    def default_position(self) -> str:
        return FAMILIES[self.family].default_position

    def canonical(self) -> Backbone:
        """The one form shared by all settings that build the same network."""
        return FAMILIES[self.family].canonical(self)

    @property
    def name(self) -> str:
        """The published name, such as `resnet50` or `wide_resnet18_1.5`."""
        return FAMILIES[self.family].name(self)


@lru_cache(maxsize=1024)
def _geometry(backbone: Backbone) -> Geometry:
    return FAMILIES[backbone.family].geometry(backbone)


@lru_cache(maxsize=1024)
def _sites(backbone: Backbone) -> tuple[Site, ...]:
    return FAMILIES[backbone.family].sites(_geometry(backbone))


class Family(ABC):
    """What a family of backbones knows: which settings it can have, its geometry and sites, and its published names."""

    depths: tuple[int, ...]
    """Depths offered by name; a family may accept others."""
    default_depth: int | None = None
    """The depth where none is given, in families that have a usual one."""
    default_stem: Stem
    positions: Mapping[str, str]
    """Positions that attention can take, each with where that is."""
    default_position: str
    """Where the published designs have attention."""

    @abstractmethod
    def check(self, backbone: Backbone) -> None:
        """Raise ValueError when the family cannot have these settings."""

    @abstractmethod
    def geometry(self, backbone: Backbone) -> Geometry: ...

    @abstractmethod
    def sites(self, geometry: Geometry) -> tuple[Site, ...]: ...

    @abstractmethod
    def canonical(self, backbone: Backbone) -> Backbone: ...

    @abstractmethod
    def name(self, backbone: Backbone) -> str: ...

    @abstractmethod
    def parse(self, name: str) -> dict[str, object] | None:
        """Settings of the backbone of this name, or None when the name is not of this family."""

    @abstractmethod
    def example_names(self) -> tuple[str, ...]:
        """A few names, for error messages."""


FAMILIES: Registry[Family] = Registry("backbone family")
