"""Another study's designs in this one's space: the same backbone where it is here, else the nearest, block by block.

What a block has there, the blocks at the same relative place of its stage have here: first to first, last to last, and in
between by rounding; stages likewise where their number differs. In users' own networks no stages are known, and the whole
network counts as one. Each unit then becomes the nearest of its options, so that a mapped design always lies in the space.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from cbam_search.architecture import AnyBackbone, Architecture, AttentionSpec, Backbone, OwnBackbone, Site
from cbam_search.space.space import Space, UnitOption

LACKING, SURPLUS, OTHER_KIND = 1_000.0, 999.0, 100.0
"""How far a site is from its wish: bare where attention is wished for, the other way round, or with another kind. Settings
differ by less than any of these; in doubt there is attention.
"""
SHARED_SETTING = 5.0
"""By how much a kind is nearer for each setting that it has in common with the one wished for."""
WORD_FOR_NUMBER = 4.0
"""Between a number and a word in its place, such as no spatial gate instead of 7x7: as far as a factor of 16."""

Stages = tuple[tuple[tuple[Site, ...], ...], ...]
"""Stages, of blocks, of sites."""


class WarmStartMapping:
    """Maps designs into one space. Keeps what it worked out, since blocks repeat."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._options: dict[AnyBackbone, dict[str, tuple[UnitOption, ...]]] = {}
        self._nearest: dict[Hashable, UnitOption] = {}

    def map(self, architecture: Architecture) -> Architecture:
        """The design of the space that stands for `architecture`, canonical; itself where the space has it."""
        source = architecture.canonical()
        backbone = self._backbone(source.backbone)
        if here := _same_design(source, backbone, self._space):
            return here
        wanted = self._wanted_specs(source, backbone)
        chosen = {
            unit: self._option(options, self._space.sites_of(backbone, unit), wanted)
            for unit, options in self._options_of(backbone).items()
        }
        return self._space.with_options(backbone, chosen)

    def _backbone(self, source: AnyBackbone) -> AnyBackbone:
        """The space's nearest backbone: the same one, for other images or classes; else by family, then by depth and width.

        Where several are as near, the first in the space's order.
        """
        return min(self._space.backbones, key=lambda here: _distance_of_backbones(source, here))

    def _options_of(self, backbone: AnyBackbone) -> dict[str, tuple[UnitOption, ...]]:
        if backbone not in self._options:
            self._options[backbone] = self._space.options(backbone)
        return self._options[backbone]

    def _wanted_specs(self, source: Architecture, backbone: AnyBackbone) -> dict[str, AttentionSpec]:
        """What each site of `backbone` should have, by name."""
        flat = isinstance(source.backbone, OwnBackbone) or isinstance(backbone, OwnBackbone)
        stages, stems = _stages(source.backbone, flat=flat)
        stages_here, stems_here = _stages(backbone, flat=flat)
        specs = dict(source.attention)
        wanted: dict[str, AttentionSpec] = {}
        for stage, blocks in enumerate(stages_here):
            blocks_there = stages[_relative(stage, len(stages_here), len(stages))]
            for block, sites in enumerate(blocks):
                wanted |= self._in_block(specs, blocks_there[_relative(block, len(blocks), len(blocks_there))], sites)
        for stem in stems_here:
            # Where the other family has no attention at its stem, the first block says what the beginning should have.
            wanted |= self._in_block(specs, stems[0] if stems else stages[0][0], stem)
        return wanted

    def _in_block(
        self, specs: Mapping[str, AttentionSpec], there: Sequence[Site], here: Sequence[Site]
    ) -> dict[str, AttentionSpec]:
        """Attention goes to the same position of the block; where the space has none of these, to its default position."""
        offered = [site for site in here if not set(self._space.positions).isdisjoint(site.positions)]
        wanted: dict[str, AttentionSpec] = {}
        unplaced: list[AttentionSpec] = []
        for site in there:
            if site.name not in specs:
                continue
            same = [other for other in offered if _place(other) == _place(site)]
            if same:
                wanted |= {other.name: specs[site.name] for other in same}
            else:
                unplaced.append(specs[site.name])
        if unplaced and not wanted:
            default = _default_position(offered, self._space)
            wanted = {site.name: unplaced[0] for site in offered if default in site.positions}
        return wanted

    def _option(
        self, options: tuple[UnitOption, ...], sites: tuple[Site, ...], wanted: Mapping[str, AttentionSpec]
    ) -> UnitOption:
        """The nearest one to what the unit's sites should have; the first in the space's order where several are as near."""
        wished = tuple(spec.canonical(site.channels) if (spec := wanted.get(site.name)) else None for site in sites)
        key = (tuple((site.channels, site.positions) for site in sites), wished)
        if key not in self._nearest:
            self._nearest[key] = min(options, key=lambda option: sum(map(_distance, wished, option)))
        return self._nearest[key]


def _same_design(source: Architecture, backbone: AnyBackbone, space: Space) -> Architecture | None:
    """The same design on the space's own backbone, where the space has both."""
    if _for_images_of(source.backbone, backbone) != backbone:
        return None
    here = Architecture(backbone=backbone, attention=dict(source.attention))
    return here if space.encode(here) is not None else None


def _for_images_of(backbone: AnyBackbone, other: AnyBackbone) -> AnyBackbone:
    """The same backbone for the other's input channels and classes."""
    return backbone.model_copy(update={"in_channels": other.in_channels, "classes": other.classes}).canonical()


def _distance_of_backbones(source: AnyBackbone, here: AnyBackbone) -> tuple[bool, bool, float, int]:
    """Compared in this order: another network or not, another family or not, how far apart depth and width are (in doublings),
    and how many settings differ.
    """
    adapted = _for_images_of(source, here)
    settings, others = adapted.model_dump(), here.model_dump()
    differing = sum(settings.get(name) != others.get(name) for name in {*settings, *others})
    if isinstance(source, Backbone) and isinstance(here, Backbone) and source.family == here.family:
        size = _doublings(source.depth, here.depth) + _doublings(source.width, here.width)
        return adapted != here, False, size, differing
    same = isinstance(source, OwnBackbone) and isinstance(here, OwnBackbone) and source.module == here.module
    size = _doublings(_blocks(source), _blocks(here)) + _doublings(source.sites[-1].channels, here.sites[-1].channels)
    return adapted != here, not same, size, differing


def _doublings(left: float, right: float) -> float:
    return abs(math.log2(left / right))


def _blocks(backbone: AnyBackbone) -> int:
    return len({site.block for site in backbone.sites})


def _stages(backbone: AnyBackbone, *, flat: bool) -> tuple[Stages, tuple[tuple[Site, ...], ...]]:
    """The stages, and the sites of the stem where there are any. flat: all blocks as one stage, without a stem."""
    blocks: dict[tuple[int, str], list[Site]] = {}
    for site in backbone.sites:
        blocks.setdefault((site.stage, site.block), []).append(site)
    if flat:
        return (tuple(map(tuple, blocks.values())),), ()
    stages: dict[int, list[tuple[Site, ...]]] = {}
    stems = []
    for (stage, block), sites in blocks.items():
        if block == "stem":
            stems.append(tuple(sites))
        else:
            stages.setdefault(stage, []).append(tuple(sites))
    return tuple(tuple(entry) for entry in stages.values()), tuple(stems)


def _relative(index: int, count: int, count_there: int) -> int:
    """The index among `count_there` at the same relative place as `index` among `count`.

    A single one stands for the last, since that is where a stage's output comes from.
    """
    if count == 1:
        return count_there - 1
    return math.floor(index * (count_there - 1) / (count - 1) + 0.5)


def _place(site: Site) -> str:
    """Its position within its block."""
    return site.positions[0]


def _default_position(offered: Sequence[Site], space: Space) -> str:
    """The family's published position where the space offers it, else the first that it offers in this block."""
    here = [position for position in space.positions if any(position in site.positions for site in offered)]
    usual = space.backbones[0].default_position
    return usual if usual in here or not here else here[0]


@lru_cache(maxsize=65536)
def _distance(wished: AttentionSpec | None, offered: AttentionSpec | None) -> float:
    if wished == offered:
        return 0.0
    if wished is None or offered is None:
        return LACKING if offered is None else SURPLUS
    shared = [name for name in wished.settings() if name in offered.settings()]
    differing = sum(_distance_of_settings(getattr(wished, name), getattr(offered, name)) for name in shared)
    return differing if wished.kind == offered.kind else OTHER_KIND - SHARED_SETTING * len(shared) + differing


def _distance_of_settings(wished: Any, offered: Any) -> float:
    """Numbers by doublings, sets of poolings by how many of either the other lacks, words by whether they are the same."""
    if wished == offered:
        return 0.0
    if isinstance(wished, tuple) and isinstance(offered, tuple):
        return float(len(set(wished) ^ set(offered)))
    numbers = [isinstance(value, int | float) for value in (wished, offered)]
    if all(numbers):
        return _doublings(wished, offered)
    return WORD_FOR_NUMBER if any(numbers) else 1.0
