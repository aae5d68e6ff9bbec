"""An architecture as numbers that a linear model can use: which backbone, what it costs, which attention where, with what
settings.

Attention enters as sums over the sites that have it: of the whole network and of each stage, divided by the number of their
blocks, and of each block. So a weight means the same in a deep and a shallow backbone. Sums make features cheap too: those of a
candidate are added up from what each unit contributes, see `costs_and_features`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cbam_search.architecture import ATTENTION_KINDS, AnyBackbone, Architecture, AttentionSpec, Site
from cbam_search.space.space import Space

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

BACKBONE, WHOLE, STAGE, BLOCK = 1.0, 0.6, 0.4, 0.2
"""Prior standard deviation of weights, relative to each other: which backbone matters more than which attention, and that a
whole network has more SE matters more than which block has it. A linear model shrinks what the data do not support. The second
was chosen on the tables of benchmarks/: with 1.0 searches chase the luck of single trainings, with 0.2 they learn later what
attention does.
"""
BLOCK_COLUMNS_AT_MOST = 60


class FeatureMap:
    """The columns for one space, the same for every architecture on its backbones; raw, before they are standardised."""

    def __init__(self, space: Space) -> None:
        offered = [kind for kind in space.attention_config.kind if kind != "none"]
        self.kinds = tuple(dict.fromkeys((*offered, "se", "cbam")))
        """Kinds with columns: the space's, and those of the published designs that stand beside it."""
        self._columns: dict[str, int] = {}
        self._weights: list[float] = []
        self._backbones: dict[AnyBackbone, dict[str, Any]] = {backbone: _settings(backbone) for backbone in space.backbones}
        for name in ("log gflops", "log params", "log gflops squared", *_backbone_columns(list(self._backbones.values()))):
            self._add(name, BACKBONE)
        sites = [site for backbone in space.backbones for site in backbone.sites if _reached(site, space.positions)]
        for kind in self.kinds:
            for name in _kind_columns(kind, space.settings):
                self._add(name, WHOLE)
            for name in (f"{kind} towards the end", f"{kind} by log gflops"):
                self._add(name, STAGE)
        positions = tuple(dict.fromkeys(site.positions[0] for site in sites))
        for position in positions:
            self._add(f"at {position}", WHOLE)
            if len(positions) > 1:
                for kind in self.kinds:
                    self._add(f"{kind} at {position}", STAGE)
        for stage in sorted({site.stage for site in sites}):
            for kind in self.kinds:
                self._add(f"s{stage} {kind}", STAGE)
                if "reduction_ratio" in ATTENTION_KINDS[kind].settings():
                    self._add(f"s{stage} {kind} reduction_ratio", STAGE)
        blocks = tuple(dict.fromkeys(site.block for site in sites))
        for by_kind in (self.kinds, ("",)):
            if len(blocks) * len(by_kind) <= BLOCK_COLUMNS_AT_MOST:
                for block in blocks:
                    for kind in by_kind:
                        self._add(f"{block} {kind}".strip(), BLOCK)
                break
        self._by_size = [(self._columns[kind], self._columns[f"{kind} by log gflops"]) for kind in self.kinds]
        self._totals: dict[AnyBackbone, tuple[dict[int, int], dict[str, float]]] = {}

    def _add(self, name: str, weight: float) -> None:
        if name not in self._columns:
            self._columns[name] = len(self._columns)
            self._weights.append(weight)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._columns)

    @property
    def prior_scale(self) -> Vector:
        """(p,), relative prior standard deviations of the weights of standardised columns."""
        return np.array(self._weights)

    def knows(self, architecture: Architecture) -> bool:
        """Whether everything in it has a column; of a published kind that the space does not offer nothing would be seen."""
        return architecture.backbone in self._backbones and all(spec.kind in self.kinds for _, spec in architecture.attention)

    def of(self, architecture: Architecture, gflops: float, params: float) -> Vector:
        """(p,), of a canonical architecture that `knows` holds for."""
        row = self.bare(architecture.backbone)
        for site, spec in architecture.placed:
            self.add_site(row, architecture.backbone, site, spec)
        self.finish(row[None], np.array([gflops]), np.array([params]))
        return row

    def bare(self, backbone: AnyBackbone) -> Vector:
        """(p,), what the backbone alone contributes; without costs, which come with `finish`."""
        row = np.zeros(len(self._columns))
        for name, value in _backbone_terms(self._backbones[backbone]):
            if name in self._columns:
                row[self._columns[name]] = value
        return row

    def add_site(self, row: Vector, backbone: AnyBackbone, site: Site, spec: AttentionSpec) -> None:
        """Add what attention at one site contributes."""
        blocks, place = self._total(backbone)
        kind = spec.kind
        whole, stage = 1.0 / sum(blocks.values()), 1.0 / blocks[site.stage]
        terms: list[tuple[str, float]] = [
            (f"at {site.positions[0]}", whole),
            (f"{kind} at {site.positions[0]}", whole),
            (f"{kind} towards the end", whole * (place[site.name] - 0.5)),
            (f"s{site.stage} {kind}", stage),
            (f"{site.block} {kind}", 1.0),
            (site.block, 1.0),
        ]
        for name, value in _spec_terms(spec):
            terms.append((name, whole * value))
            if name == f"{kind} reduction_ratio":
                terms.append((f"s{site.stage} {name}", stage * value))
        for name, value in terms:
            if name in self._columns:
                row[self._columns[name]] += value

    def finish(self, rows: Matrix, gflops: Vector, params: Vector) -> None:
        """Fill in, in rows (n, p), what is no sum over sites: costs (n,), and how the effect of a kind goes with size."""
        log_gflops = np.log(np.maximum(gflops, 1e-12))
        rows[:, 0], rows[:, 1] = log_gflops, np.log(np.maximum(params, 1.0))
        size = log_gflops - self._middle
        rows[:, 2] = size**2
        for whole, by_size in self._by_size:
            rows[:, by_size] = rows[:, whole] * size

    _middle = 0.0

    def centre(self, gflops: Vector) -> None:
        """Take the middle of these costs (n,) as where size counts from; once, before any feature is made."""
        self._middle = float(np.log(np.maximum(gflops, 1e-12)).mean())

    def _total(self, backbone: AnyBackbone) -> tuple[dict[int, int], dict[str, float]]:
        """Blocks of each stage, and how far through the network each site is, from 0 to 1."""
        if backbone not in self._totals:
            blocks: dict[int, dict[str, None]] = {}
            for site in backbone.sites:
                blocks.setdefault(site.stage, {})[site.block] = None
            last = max(1, len(backbone.sites) - 1)
            place = {site.name: index / last for index, site in enumerate(backbone.sites)}
            self._totals[backbone] = ({stage: len(names) for stage, names in blocks.items()}, place)
        return self._totals[backbone]


def _reached(site: Site, positions: Sequence[str]) -> bool:
    return not set(positions).isdisjoint(site.positions)


def _settings(backbone: AnyBackbone) -> dict[str, Any]:
    """Settings of a backbone by name, flat."""
    held = backbone.model_dump()
    arguments = dict(held.pop("arguments", ()))
    return {name: value for name, value in (held | arguments).items() if isinstance(value, (str, int, float))}


def _backbone_columns(settings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Those that vary over the space's backbones."""
    terms = [dict(_backbone_terms(row)) for row in settings]
    for name in dict.fromkeys(name for row in terms for name in row):
        if len({row.get(name, 0.0) for row in terms}) > 1:
            yield name


def _backbone_terms(settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in settings.items():
        yield f"{name}={value}", 1.0
        if not isinstance(value, (str, bool)) and value > 0:
            yield f"log {name}", math.log(value)


def _kind_columns(kind: str, offered: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    yield kind
    for name in ATTENTION_KINDS[kind].settings():
        numbers = [value for value in offered.get(name, ()) if isinstance(value, int)]
        if numbers or name == "reduction_ratio":
            yield f"{kind} {name}"
        if name != "reduction_ratio":
            for value in offered.get(name, ()):
                yield from (f"{kind} {name}={member}" for member in (value if isinstance(value, tuple) else (value,)))


@lru_cache(maxsize=65536)
def _spec_terms(spec: AttentionSpec) -> tuple[tuple[str, float], ...]:
    """What one site contributes to the whole network, whatever its place: numbers in doublings from the published value."""
    kind = spec.kind
    terms = [(kind, 1.0)]
    for name in spec.settings():
        value = getattr(spec, name)
        usual = type(spec).model_fields[name].default
        if isinstance(value, int):
            terms.append((f"{kind} {name}", math.log2(value / usual) if isinstance(usual, int) else math.log2(value)))
        members = value if isinstance(value, tuple) else (value,)
        terms.extend((f"{kind} {name}={member}", 1.0) for member in members)
    return tuple(terms)
