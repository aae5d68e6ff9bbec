"""Choices of a space that change nothing at its images, or next to nothing: each is allowed, and worth a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from cbam_search.architecture import ATTENTION_KINDS, AnyBackbone, Site
from cbam_search.architecture.attention_spec import hidden_width
from cbam_search.cost.model import CostModel
from cbam_search.space.space import Space


def space_notes(space: Space, cost: CostModel) -> tuple[str, ...]:
    """A sentence for each."""
    return (*_of_the_ratio(space), *_of_the_kernel(space, cost), *_of_the_image_size(space, cost))


def _of_the_ratio(space: Space) -> Iterator[str]:
    ratios = space.attention_config.reduction_ratio
    kinds = [kind for kind in space.attention_config.kind if kind != "none" and _reads(kind, "reduction_ratio")]
    channels = {site.channels for backbone in space.backbones for _, site in _placed(space, backbone)}
    if not ratios or not kinds or not channels:
        return
    widest = max(channels)
    if all(hidden_width(widest, ratio) == 1 for ratio in ratios):
        yield (
            f"attention.reduction_ratio {_listed(ratios)} leaves a gate one hidden unit at every site: the widest has "
            f"{widest} channels. Lower it, or widen the backbones"
        )
        return
    settings = [{"kind": kind, "reduction_ratio": ratio} for kind in kinds for ratio in ratios]
    specs = [ATTENTION_KINDS[str(setting["kind"])].model_validate(setting) for setting in settings]
    distinct = {tuple(spec.canonical(number) for number in sorted(channels)) for spec in specs}
    if len(distinct) < len(specs):
        yield (
            f"some of attention.reduction_ratio {_listed(ratios)} give the same hidden width at every site, and count once: a "
            f"gate has C // r hidden units, and the sites have {_listed(sorted(channels))} channels"
        )


def _of_the_kernel(space: Space, cost: CostModel) -> Iterator[str]:
    """A convolution padded to keep the size of its map: what lies more than that size from the middle only meets zeros."""
    if not any(kind != "none" and _reads(kind, "spatial_kernel_size") for kind in space.attention_config.kind):
        return
    sizes = [size for size in space.attention_config.spatial_kernel_size if isinstance(size, int)]
    maps = {cost.map_sizes(backbone)[site.name] for backbone in space.backbones for _, site in _placed(space, backbone)}
    if not sizes or not maps:
        return
    height, width = largest = max(maps)
    useful = 2 * max(largest) - 1
    beyond = [size for size in sizes if size > useful]
    if beyond:
        yield (
            f"attention.spatial_kernel_size {_listed(beyond)} is larger than any map can use: the largest has {height} x "
            f"{width} pixels, where no more than {useful} x {useful} weights meet any. Larger images, or smaller kernels"
        )


def _of_the_image_size(space: Space, cost: CostModel) -> Iterator[str]:
    for backbone in space.backbones:
        sizes = cost.map_sizes(backbone)
        single = [site for site in backbone.sites if sizes[site.name] == (1, 1)]
        last = max((site.stage for site in backbone.sites), default=0)
        if single and single[0].stage < last:
            height, width = cost.image_size
            yield (
                f"images of {height} x {width} are too small for the strides of {backbone.name}: from {single[0].block} on its "
                f"maps are of one pixel. Give a larger dataset.image_size, or another family or stem"
            )
            return


def _placed(space: Space, backbone: AnyBackbone) -> Iterator[tuple[str, Site]]:
    """The sites that attention may be placed at, with their units."""
    for unit in space.units_of(backbone):
        for site in space.sites_of(backbone, unit):
            yield unit, site


def _reads(kind: str, setting: str) -> bool:
    return setting in ATTENTION_KINDS[kind].settings()


def _listed(values: object) -> str:
    assert isinstance(values, (list, tuple))
    return ", ".join(map(str, values))
