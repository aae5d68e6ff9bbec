"""What every attention kind says of itself, without torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from cbam_search.architecture.geometry import Site
from cbam_search.registry import Registry


class AttentionSpec(BaseModel):
    """Settings of the attention at one site. Defaults are the published ones.

    A kind is a frozen subclass with a `kind: Literal[...]` field, registered in ATTENTION_KINDS under that name; the module
    that computes it is registered under the same name in `cbam_search.attention`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @abstractmethod
    def canonical(self, channels: int) -> AttentionSpec:
        """The one form shared by all specs that compute the same function at a site of `channels` channels."""

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Names of the settings that may be searched, in the order of declaration."""
        return tuple(name for name in cls.model_fields if name != "kind")

    @classmethod
    def published_sites(cls, sites: Iterable[Site], default_position: str) -> tuple[Site, ...]:
        """Those where the published designs have this kind: all at the backbone's default position."""
        return tuple(site for site in sites if default_position in site.positions)


ATTENTION_KINDS: Registry[type[AttentionSpec]] = Registry("attention kind")


def hidden_width(channels: int, reduction_ratio: int, at_least: int = 1) -> int:
    """Width of the bottleneck of a gate: max(at_least, C // r)."""
    return max(at_least, channels // reduction_ratio)


def canonical_reduction_ratio(channels: int, reduction_ratio: int, at_least: int = 1) -> int:
    """One ratio for all those that give the same hidden width at `channels` channels."""
    hidden = hidden_width(channels, reduction_ratio, at_least)
    ratio = max(1, channels // hidden)
    return ratio if hidden_width(channels, ratio, at_least) == hidden else ratio + 1
