"""Random architectures for property tests: small ones of every family, any kind at any site."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from cbam_search.architecture import ATTENTION_KINDS, POOLS, AnyBackbone, Architecture, AttentionSpec, Backbone


def with_attention(backbone: AnyBackbone, specs: Sequence[AttentionSpec | None], position: str | None = None) -> Architecture:
    """`backbone` with one entry a site of that position (the usual one by default), in their order."""
    sites = [site for site in backbone.sites if (position or backbone.default_position) in site.positions]
    placed = zip(sites, specs, strict=True)
    return Architecture(backbone=backbone, attention={site.name: spec for site, spec in placed if spec is not None})


_settings = {
    "reduction_ratio": st.sampled_from((1, 2, 3, 4, 7, 8, 16, 64)),
    "pools": st.lists(st.sampled_from(POOLS), min_size=1, max_size=6).map(tuple),
    "spatial_kernel_size": st.sampled_from((None, 1, 3, 5, 7)),
    "order": st.sampled_from(("channel_first", "spatial_first", "parallel")),
    "spatial_descriptor": st.sampled_from(("pooled", "conv")),
    "channel_mlp": st.sampled_from(("shared", "per_pool")),
    "eca_kernel_size": st.sampled_from(("auto", 1, 3, 9)),
    "dilation": st.sampled_from((1, 2, 4)),
}


def _specs(kind: str) -> st.SearchStrategy[AttentionSpec]:
    """Specs of one kind; a setting that is not listed above stays at its default."""
    read = [name for name in ATTENTION_KINDS[kind].settings() if name in _settings]
    return st.builds(ATTENTION_KINDS[kind], **{name: _settings[name] for name in read})


attention_specs: st.SearchStrategy[AttentionSpec] = st.one_of([_specs(kind) for kind in ATTENTION_KINDS])

_ends = {"in_channels": st.sampled_from((1, 3)), "classes": st.sampled_from((2, 10))}
_variants = st.sampled_from(("v1", "v1.5"))
_stems = st.sampled_from(("imagenet", "cifar"))
cifar_resnets = st.builds(
    Backbone,
    family=st.just("cifar_resnet"),
    depth=st.sampled_from((8, 14)),
    width=st.sampled_from((0.125, 0.5, 0.7, 1.0)),
    variant=_variants,
    stem=st.just("cifar"),
    **_ends,
)
resnets = st.builds(
    Backbone,
    family=st.just("resnet"),
    depth=st.sampled_from((18, 34, 50)),
    width=st.sampled_from((0.0625, 0.1, 0.25)),
    variant=_variants,
    stem=_stems,
    **_ends,
)
resnexts = st.builds(
    Backbone,
    family=st.just("resnext"),
    depth=st.just(50),
    width=st.sampled_from((0.25, 1.0)),
    cardinality=st.sampled_from((2, 4)),
    base_width=st.just(4),
    variant=_variants,
    stem=_stems,
    **_ends,
)
mobilenets = st.builds(
    Backbone,
    family=st.just("mobilenet"),
    depth=st.sampled_from((18, 20, 28)),
    width=st.sampled_from((0.0625, 0.1, 0.25)),
    variant=_variants,
    stem=_stems,
    **_ends,
)
backbones: st.SearchStrategy[Backbone] = st.one_of(cifar_resnets, resnets, resnexts, mobilenets)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """A backbone with one of a few specs at some of its sites, of whatever position."""
    backbone = draw(backbones)
    palette = draw(st.lists(attention_specs, min_size=1, max_size=3))
    sites = draw(st.lists(st.sampled_from(backbone.sites), max_size=8, unique=True))
    return Architecture(backbone=backbone, attention={site.name: draw(st.sampled_from(palette)) for site in sites})
