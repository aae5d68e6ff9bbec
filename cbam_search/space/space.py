"""A search space: one flat, fixed set of parameters, and the architectures they stand for.

Samplers always see every parameter of the largest backbone; the choices for blocks that a smaller one lacks are dead there, and
canonical form drops them. A *unit* is what shares one choice: the network, a stage, or a block. A unit's position says at which
of its sites the attention goes; where it has none there, nothing is placed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from math import prod
from typing import Any

from cbam_search.architecture import ATTENTION_KINDS, AnyBackbone, Architecture, AttentionSpec, Backbone, Site
from cbam_search.errors import SpaceError
from cbam_search.space.attention_config import AttentionConfig, settings_of
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.own_config import OwnBackboneConfig

Choice = str | int | float
UnitOption = tuple[AttentionSpec | None, ...]
"""What a unit has at each of its sites."""


@dataclass(frozen=True)
class Parameter:
    """One categorical parameter of the flat set: `backbone.depth`, `attention.s0b1.kind` and so on."""

    name: str
    choices: tuple[Choice, ...]


def _encode(value: Any) -> Choice:
    """A setting as a choice that every storage keeps: pools as `avg+max`, no spatial gate as `none`."""
    if isinstance(value, tuple):
        return "+".join(value)
    return "none" if value is None else value


class Space:
    """The architectures that a YAML allows, for images of `in_channels` channels in `classes` classes.

    own: from arguments to the user's own backbone, where the YAML names one; asked once a combination.
    """

    def __init__(
        self,
        backbone: BackboneConfig | OwnBackboneConfig,
        attention: AttentionConfig,
        *,
        in_channels: int,
        classes: int,
        own: Callable[[Mapping[str, Any]], AnyBackbone] | None = None,
    ) -> None:
        self.backbone_config = backbone
        self.attention_config = attention
        self.classes = classes
        self._fixed = {"in_channels": in_channels, "classes": classes}
        self._own = own
        self._known_own: dict[tuple[Any, ...], AnyBackbone] = {}
        self._combinations = backbone.combinations()
        self.positions = attention.position or (self.backbones[0].default_position,)
        self.settings = attention.settings_choices()
        """Choices of each setting of attention, as values of its spec."""
        self._options: dict[Hashable, dict[UnitOption, dict[str, Any]]] = {}
        self._sites: dict[AnyBackbone, dict[str, tuple[Site, ...]]] = {}

    @cached_property
    def backbones(self) -> tuple[AnyBackbone, ...]:
        """The distinct backbones, canonical."""
        return tuple(dict.fromkeys(self._backbone(settings).canonical() for settings in self._combinations))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The flat set; settings with a single choice are constants and not among them."""
        offered = [(f"backbone.{name}", choices) for name, choices in self.backbone_config.choices().items()]
        for unit in self.units:
            prefix = f"attention.{unit}." if unit else "attention."
            offered.extend((f"{prefix}{name}", choices) for name, choices in self._offered.items())
        return tuple(Parameter(name, tuple(map(_encode, choices))) for name, choices in offered if len(choices) > 1)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Units of the union of all backbones: `` (network), `s0` (stage) or `s0b1` (block), by stage."""
        deepest_first = sorted(self.backbones, key=lambda backbone: -len(backbone.sites))
        stages = {unit: sites[0].stage for entry in deepest_first for unit, sites in self._sites_by_unit(entry).items()}
        return tuple(sorted(stages, key=lambda unit: stages[unit]))

    @property
    def _offered(self) -> dict[str, tuple[Any, ...]]:
        """Choices of every unit."""
        return {"kind": self.attention_config.kind, "position": self.positions, **self.settings}

    def decode(self, values: Mapping[str, Choice]) -> Architecture:
        """The canonical architecture of a full assignment of `parameters`."""
        settings = dict(self._combinations[0])
        for name, choices in self.backbone_config.choices().items():
            settings[name] = self._chosen(values, f"backbone.{name}", choices)
        backbone = self._backbone(settings)
        chosen = {
            unit: _option(self._unit_settings(values, unit), sites) for unit, sites in self._sites_by_unit(backbone).items()
        }
        return self.with_options(backbone.canonical(), chosen)

    def encode(self, architecture: Architecture) -> dict[str, Choice] | None:
        """Parameters that decode to `architecture`, or None where it lies outside the space."""
        canonical = architecture.canonical()
        matching = [row for row in self._combinations if self._backbone(row).canonical() == canonical.backbone]
        if not matching:
            return None
        values: dict[str, Any] = {f"backbone.{name}": matching[0][name] for name in self.backbone_config.choices()}
        specs = dict(canonical.attention)
        for unit, sites in self._sites_by_unit(canonical.backbone).items():
            settings = self._unit_options(sites).get(tuple(specs.pop(site.name, None) for site in sites))
            if settings is None:
                return None
            values |= {f"attention.{unit}.{name}" if unit else f"attention.{name}": value for name, value in settings.items()}
        if specs:
            return None
        return {
            parameter.name: _encode(values[parameter.name]) if parameter.name in values else parameter.choices[0]
            for parameter in self.parameters
        }

    def count(self) -> int:
        """Number of distinct architectures after canonical form; a closed form, exact for any size."""
        return sum(prod(map(len, self._axes(backbone))) for backbone in self.backbones)

    def enumerate(self) -> Iterator[Architecture]:
        """Every distinct architecture once, lazily, in a fixed order."""
        for backbone in self.backbones:
            options = self.options(backbone)
            for chosen in product(*options.values()):
                yield self.with_options(backbone, dict(zip(options, chosen, strict=True)))

    def options(self, backbone: AnyBackbone) -> dict[str, tuple[UnitOption, ...]]:
        """What each unit of `backbone` can be, canonical and without repeats: one entry a site of the unit."""
        return dict(zip(self.units_of(backbone), self._axes(backbone), strict=True))

    def with_options(self, backbone: AnyBackbone, chosen: Mapping[str, UnitOption]) -> Architecture:
        """`backbone` with these options of its units, and nothing in units that are not named."""
        sites = self._sites_by_unit(backbone)
        attention = {
            site.name: spec
            for unit, option in chosen.items()
            for site, spec in zip(sites[unit], option, strict=True)
            if spec is not None
        }
        return Architecture(backbone=backbone, attention=attention)

    def carried(self, option: UnitOption, sites: tuple[Site, ...], to: tuple[Site, ...]) -> UnitOption:
        """What the settings that give `option` at the sites of one unit give at those of another."""
        return _option(self._unit_options(sites)[option], to)

    def units_of(self, backbone: AnyBackbone) -> tuple[str, ...]:
        """The units that this backbone has."""
        return tuple(self._sites_by_unit(backbone))

    def sites_of(self, backbone: AnyBackbone, unit: str) -> tuple[Site, ...]:
        """Which sites of `backbone` share the choice of `unit`."""
        return self._sites_by_unit(backbone)[unit]

    def _backbone(self, settings: Mapping[str, Any]) -> AnyBackbone:
        if self._own is None:
            return Backbone.model_validate({**settings, **self._fixed})
        key = tuple(settings.values())
        if key not in self._known_own:
            self._known_own[key] = self._own(settings)
        return self._known_own[key]

    def _sites_by_unit(self, backbone: AnyBackbone) -> dict[str, tuple[Site, ...]]:
        """The sites of every unit that any of the positions reaches."""
        if backbone not in self._sites:
            groups: dict[str, list[Site]] = {}
            for site in backbone.sites:
                if not set(self.positions).isdisjoint(site.positions):
                    groups.setdefault(self._unit(site), []).append(site)
            self._sites[backbone] = {unit: tuple(sites) for unit, sites in groups.items()}
        return self._sites[backbone]

    def _unit(self, site: Site) -> str:
        return {"network": "", "stage": f"s{site.stage}", "block": site.block}[self.attention_config.per]

    def _axes(self, backbone: AnyBackbone) -> tuple[tuple[UnitOption, ...], ...]:
        return tuple(tuple(self._unit_options(sites)) for sites in self._sites_by_unit(backbone).values())

    def _unit_options(self, sites: tuple[Site, ...]) -> dict[UnitOption, dict[str, Any]]:
        """What one unit over these sites can be, canonical, each with settings that give it."""
        key = tuple((site.channels, site.positions) for site in sites)
        if key not in self._options:
            options: dict[UnitOption, dict[str, Any]] = {}
            for kind in self.attention_config.kind:
                # What a kind does not read stays at its first choice.
                read = {"kind", *settings_of(kind), *(("position",) if kind != "none" else ())}
                offered = self._offered | {"kind": (kind,)}
                choices = [all_of if name in read else all_of[:1] for name, all_of in offered.items()]
                for chosen in product(*choices):
                    settings = dict(zip(offered, chosen, strict=True))
                    options.setdefault(_option(settings, sites), settings)
            self._options[key] = options
        return self._options[key]

    def _unit_settings(self, values: Mapping[str, Choice], unit: str) -> dict[str, Any]:
        prefix = f"attention.{unit}." if unit else "attention."
        return {name: self._chosen(values, prefix + name, choices) for name, choices in self._offered.items()}

    @staticmethod
    def _chosen(values: Mapping[str, Choice], name: str, choices: tuple[Any, ...]) -> Any:
        if len(choices) == 1:
            return choices[0]
        if name not in values:
            raise SpaceError(f"parameter '{name}' is missing: every parameter of the space must be given")
        for choice in choices:
            if _encode(choice) == values[name]:
                return choice
        raise SpaceError(f"parameter '{name}' is {values[name]!r}. Allowed: {', '.join(str(_encode(c)) for c in choices)}")


def _option(settings: Mapping[str, Any], sites: tuple[Site, ...]) -> UnitOption:
    """What these settings place at each of the sites, canonical."""
    spec = _spec(settings)
    position = settings["position"]
    return tuple(_canonical(spec, site.channels) if spec is not None and position in site.positions else None for site in sites)


def _spec(settings: Mapping[str, Any]) -> AttentionSpec | None:
    if settings["kind"] == "none":
        return None
    kind = ATTENTION_KINDS[settings["kind"]]
    read = {name: settings[name] for name in kind.settings() if name in settings}
    return kind.model_validate({"kind": settings["kind"], **read})


@lru_cache(maxsize=65536)
def _canonical(spec: AttentionSpec, channels: int) -> AttentionSpec:
    return spec.canonical(channels)
