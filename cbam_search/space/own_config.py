"""The YAML section `backbone` where it names the user's own network, and which of its two forms a section has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from cbam_search.architecture.own_backbone import ArgumentValue, FunctionName
from cbam_search.architecture.sites import OWN_POSITIONS
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.choices import Choices

_LONGEST_SITE = 200
FROM_DATA = ("in_channels", "classes")
"""Arguments that the data say."""


def _site_name(name: str) -> str:
    if not (all(name.split(".")) and name.isprintable() and len(name) <= _LONGEST_SITE):
        raise PydanticCustomError("site_name", "'{name}' names no submodule: write layer1 or layer2.0", {"name": name})
    return name


def _argument_name(name: str) -> str:
    if not name.isidentifier():
        raise PydanticCustomError("argument_name", "'{name}' cannot name an argument of a Python function", {"name": name})
    if name in FROM_DATA:
        raise PydanticCustomError("argument_name", "'{name}' is given by the data, not here", {"name": name})
    return name


class OwnBackboneConfig(BaseModel):
    """Your own network as the backbone, which needs --allow-code: every combination of the arguments given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: FunctionName = Field(
        description="package.module:function, which returns a torch.nn.Module: images (N, C, H, W) to logits (N, classes); "
        "see docs/own-backbone.md"
    )
    sites: Choices[Annotated[str, AfterValidator(_site_name)]] = Field(
        description="names of submodules, such as layer1 or layer2.0, whose output (N, C, H, W) attention may follow"
    )
    arguments: dict[Annotated[str, AfterValidator(_argument_name)], Choices[ArgumentValue]] = Field(
        default={},
        description="arguments of the function by name, each one value or a list of choices; "
        "in_channels and classes, where it takes them, come from the data",
    )

    @property
    def positions(self) -> tuple[str, ...]:
        """Where attention may sit."""
        return tuple(OWN_POSITIONS)

    def weights_files(self) -> dict[str, Path]:
        """None: the function itself may return a network with trained weights."""
        return {}

    def resolved(self, base: Path, moved: Callable[[str], str] = str) -> OwnBackboneConfig:  # noqa: ARG002 (as for a family)
        """The same: a module is found on the Python path, not by the folder of the YAML file."""
        return self

    def combinations(self) -> tuple[dict[str, Any], ...]:
        """Arguments of every combination, in a fixed order."""
        return tuple(dict(zip(self.arguments, chosen, strict=True)) for chosen in product(*self.arguments.values()))

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The arguments with their choices."""
        return dict(self.arguments)


def _form(section: Any) -> str:
    """`module` decides; without it and `family`, the keys that only an own network has."""
    if not isinstance(section, Mapping):
        return "own" if isinstance(section, OwnBackboneConfig) else "published"
    return "own" if "module" in section or ("family" not in section and {"sites", "arguments"} & set(section)) else "published"


AnyBackboneConfig = Annotated[
    Annotated[BackboneConfig, Tag("published")] | Annotated[OwnBackboneConfig, Tag("own")], Discriminator(_form)
]
