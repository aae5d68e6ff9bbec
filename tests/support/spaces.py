"""Any valid space, for property tests: small backbones of every family, every key of the attention section."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cbam_search.architecture import ATTENTION_KINDS, FAMILIES
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space


def _some(*choices: Any, at_most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(choices), min_size=1, max_size=at_most, unique=True)


_variants = _some("v1", "v1.5")
_stems = st.sampled_from(("imagenet", "cifar"))
_BACKBONES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "cifar_resnet": {"depth": _some(8, 14, 20), "width": _some(0.125, 0.25, 0.5)},
    "resnet": {"depth": _some(18, 34, 50), "width": _some(0.0625, 0.1), "variant": _variants, "stem": _stems},
    "resnext": {
        "depth": st.just(50),
        "width": _some(0.25, 1.0),
        "cardinality": _some(2, 4),
        "base_width": st.just(4),
        "variant": _variants,
        "stem": _stems,
    },
    "mobilenet": {"depth": _some(18, 20, 28), "width": _some(0.0625, 0.125), "stem": _stems},
}
_ATTENTION: dict[str, st.SearchStrategy[Any]] = {
    "per": st.sampled_from(("network", "stage", "block")),
    "kind": _some("none", *ATTENTION_KINDS, at_most=3),
    "reduction_ratio": st.none() | _some(1, 2, 4, 8, 16, 64, at_most=4),
    "pools": st.sampled_from(([["avg"]], [["avg", "max"], ["max", "avg"]], {"from": ["avg", "lp", "lse"], "at_most": 2})),
    "spatial_kernel_size": _some(3, 7, "none"),
    "order": _some("channel_first", "spatial_first", "parallel"),
    "spatial_descriptor": _some("pooled", "conv"),
    "channel_mlp": _some("shared", "per_pool"),
    "eca_kernel_size": _some("auto", 3, 5),
    "dilation": _some(1, 4),
}


@st.composite
def spaces(draw: st.DrawFn, families: tuple[str, ...] = FAMILIES.names()) -> Space:
    """A space of one of these families, for images of one or three channels."""
    family = draw(st.sampled_from(families))
    backbone = draw(st.fixed_dictionaries(_BACKBONES[family])) | {"family": family}
    positions = st.none() | _some(*FAMILIES[family].positions, at_most=3)
    attention = draw(st.fixed_dictionaries({**_ATTENTION, "position": positions}))
    return Space(
        BackboneConfig.model_validate(backbone),
        AttentionConfig.model_validate(attention),
        in_channels=draw(st.sampled_from((1, 3))),
        classes=draw(st.sampled_from((2, 10))),
    )


@st.composite
def assignments(draw: st.DrawFn, space: Space) -> dict[str, Any]:
    """A full assignment of the space's parameters."""
    return {parameter.name: draw(st.sampled_from(parameter.choices)) for parameter in space.parameters}
