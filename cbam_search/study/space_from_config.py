"""The space of a YAML, with the user's own networks traced where it names one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbam_search.architecture import OwnBackbone
from cbam_search.own_code import NO_CODE, CodePermission
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig


def require_code_permission(config: StudyConfig, code: CodePermission) -> None:
    """Raise CodeNotAllowedError where the backbone is the user's own and code may not run; nothing is imported."""
    if isinstance(config.backbone, OwnBackboneConfig):
        code_folder_of(config.backbone, code)


def code_folder_of(backbone: OwnBackboneConfig, code: CodePermission) -> Path:
    """Where the user's own backbone is imported from, after the Python path; raises CodeNotAllowedError."""
    return code.require(f"The backbone is built by the Python function {backbone.module}.")


def space_of(
    config: StudyConfig, *, in_channels: int, classes: int, image_size: tuple[int, int], code: CodePermission = NO_CODE
) -> Space:
    """The space for images of these channels, classes and (height, width).

    Raises CodeNotAllowedError, and OwnCodeError where the user's own network cannot be used.
    """
    named = config.backbone
    if not isinstance(named, OwnBackboneConfig):
        return Space(named, config.attention, in_channels=in_channels, classes=classes)
    folder = code_folder_of(named, code)

    def traced(arguments: Mapping[str, Any]) -> OwnBackbone:
        from cbam_search.backbones.tracing import trace

        return trace(
            named.module,
            named.sites,
            arguments,
            in_channels=in_channels,
            classes=classes,
            image_size=image_size,
            folder=folder,
        )

    return Space(named, config.attention, in_channels=in_channels, classes=classes, own=traced)


def untraced_space(config: StudyConfig) -> Space:
    """A space with the parameters of `config`, for images not known yet; of the user's own network no code is run.

    The channels at its sites are made up, so that its architectures cannot be counted.
    """
    named = config.backbone
    if not isinstance(named, OwnBackboneConfig):
        return Space(named, config.attention, in_channels=3, classes=2)

    def imagined(arguments: Mapping[str, Any]) -> OwnBackbone:
        sites = [{"name": name, "channels": 1} for name in named.sites]
        fixed = {"module": named.module, "source": "", "in_channels": 3, "classes": 2}
        return OwnBackbone.model_validate({**fixed, "arguments": tuple(arguments.items()), "attention_after": sites})

    return Space(named, config.attention, in_channels=3, classes=2, own=imagined)
