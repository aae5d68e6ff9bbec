"""The weights that a study's trainings start from: read once, and checked against all that the space and the baselines hold."""

from __future__ import annotations

from collections.abc import Iterator

from cbam_search.architecture import ATTENTION_KINDS, Architecture, Backbone, published
from cbam_search.backbones.compensation import check_identity_start
from cbam_search.backbones.pretrained import Pretrained, load_pretrained
from cbam_search.errors import ArchitectureError, SpaceError
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig


def pretrained_of(config: StudyConfig, space: Space) -> Pretrained:
    """Weights of every backbone of the space; none where `backbone.weights` is not given.

    Raises WeightsError, and SpaceError where attention that may be proposed cannot start as the identity.
    """
    files = config.backbone.weights_files()
    if not files:
        return {}
    backbones = [backbone for backbone in space.backbones if isinstance(backbone, Backbone)]  # no file is for a user's own
    for backbone in backbones:
        _check_start(config, space, backbone)
    return {backbone: load_pretrained(files[backbone.name], backbone) for backbone in backbones}


def notes_of(pretrained: Pretrained) -> tuple[str, ...]:
    """What the reader should know of how the weights fit, each once."""
    return tuple(dict.fromkeys(note for weights in pretrained.values() for note in weights.notes))


def _check_start(config: StudyConfig, space: Space, backbone: Backbone) -> None:
    for kind, position, architecture in _candidates(config, space, backbone):
        if problem := _problem(architecture):
            others = [other for other in config.backbone.positions if not _problem(_everywhere(backbone, kind, other))]
            raise SpaceError(
                f"{position} and backbone.weights: {problem}. Positions where {kind} may start from weights on this backbone: "
                f"{', '.join(others) or 'none'}. Take one of these, or leave {kind} out"
            )


def _candidates(config: StudyConfig, space: Space, backbone: Backbone) -> Iterator[tuple[str, str, Architecture]]:
    """Kind, the key that asks for it, and a network with it at every site of a position.

    A mixture of positions reaches one factor further at most, in a shortcut chain's last block.
    """
    for kind in config.attention.kind:
        for position in space.positions if kind != "none" else ():
            yield kind, f"attention.position {position}", _everywhere(backbone, kind, position)
    for kind in config.search.baselines:
        if kind != "none":
            yield kind, "search.baselines", published(backbone, kind)


def _everywhere(backbone: Backbone, kind: str, position: str) -> Architecture:
    spec = ATTENTION_KINDS[kind].model_validate({"kind": kind})
    sites = (site for site in backbone.sites if position in site.positions)
    return Architecture(backbone=backbone, attention={site.name: spec for site in sites})


def _problem(architecture: Architecture) -> str | None:
    try:
        check_identity_start(architecture)
    except ArchitectureError as error:
        return str(error)
    return None
