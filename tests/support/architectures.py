"""Random architectures for property tests: small ones of every family, any kind at any site."""

from __future__ import annotations

from hypothesis import strategies as st

from cbam_search.architecture import ATTENTION_KINDS, POOLS, Architecture, AttentionSpec, Backbone

_settings = {
    "reduction_ratio": st.sampled_from((1, 2, 3, 4, 7, 8, 16, 64)),
    "pools": st.lists(st.sampled_from(POOLS), min_size=1, max_size=6).map(tuple),
    "spatial_kernel_size": st.sampled_from((None, 1, 3, 5, 7)),
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
backbones: st.SearchStrategy[Backbone] = st.one_of(cifar_resnets, resnets, resnexts)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """A backbone with nothing, or one of a few specs, at each site."""
    backbone = draw(backbones)
    palette = [None, *draw(st.lists(attention_specs, max_size=3))]
    attention = [draw(st.sampled_from(palette)) for _ in backbone.geometry().sites]
    return Architecture(backbone=backbone, attention=tuple(attention))
