"""A user's own network as a backbone: named by the function that builds it, known by what a trace of it found."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cbam_search.architecture.geometry import Site
from cbam_search.safe_text import printable

FUNCTION_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
ArgumentValue = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str


def _function(name: str) -> str:
    if not FUNCTION_NAME.fullmatch(name):
        raise ValueError(f"'{name}' names no function: write package.module:function")
    return name


FunctionName = Annotated[str, AfterValidator(_function)]


class OwnSite(BaseModel):
    """A named submodule, with the channels of its output (N, C, H, W)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    channels: int = Field(ge=1)


class OwnBackbone(BaseModel):
    """A network that `module` builds: `package.module:function`, called with `arguments` by name.

    source: SHA-256 of the source that the function comes from, so that another version is another network.
    attention_after: the submodules whose output attention may follow, in the order of a forward pass.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["own"] = "own"
    module: FunctionName
    arguments: tuple[tuple[str, ArgumentValue], ...] = ()
    source: str
    attention_after: tuple[OwnSite, ...] = Field(min_length=1)
    in_channels: int = Field(ge=1)
    classes: int = Field(ge=1)

    @property
    def name(self) -> str:
        """`function(depth=3)`, for tables."""
        arguments = ", ".join(f"{name}={printable(value, 60)}" for name, value in self.arguments)
        return self.module.partition(":")[2] + (f"({arguments})" if arguments else "")

    @property
    def sites(self) -> tuple[Site, ...]:
        """One after each named submodule, in the order of a forward pass."""
        return _sites(self.attention_after)

    @property
    def default_position(self) -> str:
        return "after"

    def canonical(self) -> OwnBackbone:
        """Arguments in the order of their names; what the function does with them is not known here."""
        return self.model_copy(update={"arguments": tuple(sorted(self.arguments))})


@lru_cache(maxsize=1024)
def _sites(submodules: tuple[OwnSite, ...]) -> tuple[Site, ...]:
    return tuple(Site(entry.name, 0, entry.name, ("after",), entry.channels) for entry in submodules)
