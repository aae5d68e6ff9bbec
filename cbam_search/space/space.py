"""A search space: one flat, fixed set of parameters, and the architectures they stand for.

Samplers always see every parameter of the largest backbone; the choices for blocks that a smaller one lacks are dead there, and
canonical form drops them. A *unit* is what shares one choice: the network, a stage, or a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from cbam_search.architecture import ATTENTION_KINDS, Architecture, AttentionSpec, Backbone, Site
from cbam_search.errors import SpaceError
from cbam_search.space.config import AttentionConfig, BackboneConfig, settings_of

Choice = str | int | float
UnitOption = tuple[AttentionSpec | None, ...]


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
    """The architectures that a YAML allows, for images of `in_channels` channels in `classes` classes."""

    def __init__(self, backbone: BackboneConfig, attention: AttentionConfig, *, in_channels: int, classes: int) -> None:
        self.backbone_config = backbone
        self.attention_config = attention
        self.classes = classes
        self._fixed = {"in_channels": in_channels, "classes": classes}
        self.settings = attention.settings_choices()
        """Choices of each setting of attention, as values of its spec."""
        self._combinations = backbone.combinations()
        self._options: dict[tuple[int, ...], dict[UnitOption, dict[str, Any]]] = {}

    @cached_property
    def backbones(self) -> tuple[Backbone, ...]:
        """The distinct backbones, canonical."""
        return tuple(dict.fromkeys(self._backbone(settings).canonical() for settings in self._combinations))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The flat set; settings with a single choice are constants and not among them."""
        offered = [(f"backbone.{name}", choices) for name, choices in self.backbone_config.choices().items()]
        for unit in self.units:
            prefix = f"attention.{unit}." if unit else "attention."
            offered.append((f"{prefix}kind", self.attention_config.kind))
            offered.extend((f"{prefix}{name}", choices) for name, choices in self.settings.items())
        return tuple(Parameter(name, tuple(map(_encode, choices))) for name, choices in offered if len(choices) > 1)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Units of the union of all backbones: `` (network), `s0` (stage) or `s0b1` (block), in order."""
        sites = {(site.stage, site.block) for backbone in self.backbones for site in backbone.geometry().sites}
        return tuple(dict.fromkeys(self._unit(stage, block) for stage, block in sorted(sites)))

    def decode(self, values: Mapping[str, Choice]) -> Architecture:
        """The canonical architecture of a full assignment of `parameters`."""
        settings = dict(self._combinations[0])
        for name, choices in self.backbone_config.choices().items():
            settings[name] = self._chosen(values, f"backbone.{name}", choices)
        backbone = self._backbone(settings)
        specs = {unit: self._spec(self._unit_settings(values, unit)) for unit in self.units}
        attention = tuple(specs[self._unit(site.stage, site.block)] for site in backbone.geometry().sites)
        return Architecture(backbone=backbone, attention=attention).canonical()

    def encode(self, architecture: Architecture) -> dict[str, Choice] | None:
        """Parameters that decode to `architecture`, or None where it lies outside the space."""
        canonical = architecture.canonical()
        matching = [row for row in self._combinations if self._backbone(row).canonical() == canonical.backbone]
        if not matching:
            return None
        values: dict[str, Any] = {f"backbone.{name}": matching[0][name] for name in self.backbone_config.choices()}
        for unit, sites in self._sites_by_unit(canonical.backbone).items():
            option = tuple(canonical.attention[index] for index, _ in sites)
            settings = self._unit_options(tuple(site.channels for _, site in sites)).get(option)
            if settings is None:
                return None
            values |= {f"attention.{unit}.{name}" if unit else f"attention.{name}": value for name, value in settings.items()}
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

    def with_one_unit(self, backbone: Backbone, unit: str, settings: Mapping[str, Any]) -> Architecture:
        """`backbone` with attention of these settings in one unit and nothing elsewhere."""
        spec = self._spec(settings)
        sites = self._sites_by_unit(backbone)[unit]
        return self.with_options(backbone, {unit: tuple(spec.canonical(site.channels) if spec else None for _, site in sites)})

    def options(self, backbone: Backbone) -> dict[str, tuple[UnitOption, ...]]:
        """What each unit of `backbone` can be, canonical and without repeats: one entry a site of the unit."""
        return dict(zip(self.units_of(backbone), self._axes(backbone), strict=True))

    def with_options(self, backbone: Backbone, chosen: Mapping[str, UnitOption]) -> Architecture:
        """`backbone` with these options of its units, and nothing in units that are not named."""
        groups = self._sites_by_unit(backbone)
        attention: list[AttentionSpec | None] = [None] * sum(map(len, groups.values()))
        for unit, option in chosen.items():
            for (index, _), spec in zip(groups[unit], option, strict=True):
                attention[index] = spec
        return Architecture(backbone=backbone, attention=tuple(attention))

    def units_of(self, backbone: Backbone) -> tuple[str, ...]:
        """The units that this backbone has."""
        return tuple(self._sites_by_unit(backbone))

    def sites_of(self, backbone: Backbone, unit: str) -> tuple[int, ...]:
        """Which of the sites of `backbone` share the choice of `unit`, as places in its order of sites."""
        return tuple(index for index, _ in self._sites_by_unit(backbone)[unit])

    def _backbone(self, settings: Mapping[str, Any]) -> Backbone:
        return Backbone.model_validate({**settings, **self._fixed})

    def _unit(self, stage: int, block: int) -> str:
        return {"network": "", "stage": f"s{stage}", "block": f"s{stage}b{block}"}[self.attention_config.per]

    def _sites_by_unit(self, backbone: Backbone) -> dict[str, list[tuple[int, Site]]]:
        groups: dict[str, list[tuple[int, Site]]] = {}
        for index, site in enumerate(backbone.geometry().sites):
            groups.setdefault(self._unit(site.stage, site.block), []).append((index, site))
        return groups

    def _axes(self, backbone: Backbone) -> tuple[tuple[UnitOption, ...], ...]:
        groups = self._sites_by_unit(backbone).values()
        return tuple(tuple(self._unit_options(tuple(site.channels for _, site in sites))) for sites in groups)

    def _unit_options(self, channels: tuple[int, ...]) -> dict[UnitOption, dict[str, Any]]:
        """What one unit over sites of these channels can be, canonical, each with settings that give it."""
        if channels not in self._options:
            options: dict[UnitOption, dict[str, Any]] = {}
            for kind in self.attention_config.kind:
                # Settings that a kind does not read stay at their first choice.
                read = settings_of(kind)
                choices = [all_of if name in read else all_of[:1] for name, all_of in self.settings.items()]
                for chosen in product(*choices):
                    settings = {"kind": kind, **dict(zip(self.settings, chosen, strict=True))}
                    spec = self._spec(settings)
                    options.setdefault(tuple(spec.canonical(width) if spec else None for width in channels), settings)
            self._options[channels] = options
        return self._options[channels]

    def _unit_settings(self, values: Mapping[str, Choice], unit: str) -> dict[str, Any]:
        prefix = f"attention.{unit}." if unit else "attention."
        offered = {"kind": self.attention_config.kind, **self.settings}
        return {name: self._chosen(values, prefix + name, choices) for name, choices in offered.items()}

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

    @staticmethod
    def _spec(settings: Mapping[str, Any]) -> AttentionSpec | None:
        if settings["kind"] == "none":
            return None
        kind = ATTENTION_KINDS[settings["kind"]]
        read = {name: settings[name] for name in kind.settings() if name in settings}
        return kind.model_validate({"kind": settings["kind"], **read})
