"""Where attention may sit in each kind of block, as the papers have it.

`branch_end`, `pre`, `post` and `identity` are the placements that the SE paper compares (Hu et al., arXiv 1709.01507, section
6.6, figure 5), `stage_end` is BAM's (Park et al., arXiv 1807.06514, section 3). The CBAM paper's MobileNets have attention
after every batch norm.
"""

from __future__ import annotations

from collections.abc import Iterator

from cbam_search.architecture.geometry import BlockGeometry, Geometry, Site

RESIDUAL_POSITIONS: dict[str, str] = {
    "branch_end": "after the last batch norm of the residual branch, before the addition",
    "pre": "where the residual branch begins; the shortcut takes the block's input as it is",
    "identity": "at the end of the shortcut, before the addition",
    "post": "after the addition and its ReLU",
    "stage_end": "after the last block of a stage",
}
SEPARABLE_POSITIONS: dict[str, str] = {
    "every_norm": "after every batch norm, before its ReLU: the stem's, each depthwise's and each pointwise's",
    "depthwise": "after the batch norms of the depthwise convolutions, before the ReLU",
    "pointwise": "after the batch norms of the pointwise convolutions, before the ReLU",
    "post": "after the block's last ReLU",
    "stage_end": "after the last block of a stage",
}
OWN_POSITIONS: dict[str, str] = {"after": "after the output of a named submodule"}
POSITIONS: dict[str, str] = SEPARABLE_POSITIONS | RESIDUAL_POSITIONS | OWN_POSITIONS


def residual_sites(geometry: Geometry) -> tuple[Site, ...]:
    """Sites of a ResNet, in the order of a forward pass."""
    last = _last_blocks(geometry)
    return tuple(site for block in geometry.blocks for site in _residual(block, block.name in last))


def _residual(block: BlockGeometry, ends_stage: bool) -> Iterator[Site]:
    yield _site(block, ("pre",), block.in_channels, before_stride=True)
    yield _site(block, ("branch_end",), block.out_channels)
    yield _site(block, ("identity",), block.out_channels)
    yield _site(block, _after(ends_stage), block.out_channels)


def separable_sites(geometry: Geometry) -> tuple[Site, ...]:
    """Sites of a MobileNet, in the order of a forward pass."""
    last = _last_blocks(geometry)
    stem = Site("stem", 0, "stem", ("stem", "every_norm"), geometry.stem.out_channels)
    return (stem, *(site for block in geometry.blocks for site in _separable(block, block.name in last)))


def _separable(block: BlockGeometry, ends_stage: bool) -> Iterator[Site]:
    yield _site(block, ("depthwise", "every_norm"), block.mid_channels)
    yield _site(block, ("pointwise", "every_norm"), block.out_channels)
    yield _site(block, _after(ends_stage), block.out_channels)


def _after(ends_stage: bool) -> tuple[str, ...]:
    """After the last block of a stage, `post` and `stage_end` are one place: the same function has one form."""
    return ("post", "stage_end") if ends_stage else ("post",)


def _site(block: BlockGeometry, positions: tuple[str, ...], channels: int, *, before_stride: bool = False) -> Site:
    return Site(f"{block.name}.{positions[0]}", block.stage, block.name, positions, channels, before_stride)


def _last_blocks(geometry: Geometry) -> set[str]:
    """Names of the blocks that end a stage."""
    return set({block.stage: block.name for block in geometry.blocks}.values())
