"""The YAML section `backbone` where it names a family: which of its networks may be taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.architecture import FAMILIES, Backbone
from cbam_search.architecture.backbone import Variant
from cbam_search.architecture.geometry import Stem
from cbam_search.identity import DECIDES_NOTHING
from cbam_search.registry import unknown_name
from cbam_search.space.choices import Choices, OneOf

FamilyName = Annotated[str, OneOf("backbone family", FAMILIES.names())]
WeightsPath = Annotated[str, Field(min_length=1)]


class BackboneConfig(BaseModel):
    """Which backbones: every combination of the choices given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: FamilyName = Field(
        description="resnet (ImageNet, 18 to 152), resnext, cifar_resnet (depth 6n + 2), or mobilenet (v1, depth 18 to 28)"
    )
    depth: Choices[int] | None = Field(
        default=None,
        validate_default=True,
        description="depth of the network; needed, except for mobilenet, whose default is 28",
    )
    width: Choices[Annotated[float, Field(gt=0, le=64, allow_inf_nan=False)]] = Field(
        default=(1.0,), description="factors on the channels of every stage"
    )
    cardinality: Choices[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="resnext: groups of the 3x3 convolutions (default 32)"
    )
    base_width: Choices[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="resnext: channels of one group in the first stage (default 4)"
    )
    variant: Choices[Variant] = Field(
        default=("v1",), description="bottlenecks carry their stride on the first 1x1 (v1, as published) or on the 3x3 (v1.5)"
    )
    stem: Stem | None = Field(
        default=None,
        description="imagenet (7x7 of stride 2, max pooling) or cifar (3x3 of stride 1); the default is the family's own",
    )
    # Known by the files' content, not by where they lie.
    weights: Annotated[WeightsPath | dict[str, WeightsPath] | None, DECIDES_NOTHING] = Field(
        default=None,
        description="trained weights to start from: a file (safetensors, or a state dict of torch.save), or, for several "
        "backbones, a mapping from their names to files; see docs/pretrained.md",
    )

    @field_validator("depth", mode="before")
    @classmethod
    def _usual_depth(cls, value: Any, info: ValidationInfo) -> Any:
        family = info.data.get("family")
        if value is None and family is not None:
            if FAMILIES[family].default_depth is None:
                raise PydanticCustomError("no_depth", "{family} needs a depth, such as {depth}", _depth_of(family))
            return FAMILIES[family].default_depth
        return value

    @field_validator("depth", "width", "cardinality", "base_width", "stem")
    @classmethod
    def _possible(cls, value: Any, info: ValidationInfo) -> Any:
        """Try each choice alone, so that a mistake is reported at its own key."""
        family = info.data.get("family")
        if family is None or value is None or (info.field_name != "depth" and not info.data.get("depth")):
            return value
        for choice in value if isinstance(value, tuple) else (value,):
            settings = _family_defaults(family) | {"family": family, "depth": _any_depth(family, info)}
            settings |= {str(info.field_name): choice}
            message = _mistake(settings)
            if message:
                raise PydanticCustomError("impossible_backbone", "{message}", {"message": message})
        return value

    @model_validator(mode="after")
    def _possible_together(self) -> BackboneConfig:
        for settings in self.combinations():
            message = _mistake(settings)
            if message:
                raise PydanticCustomError("impossible_backbone", "{message}", {"message": message})
        return self

    @model_validator(mode="after")
    def _weights_fit_the_backbones(self) -> BackboneConfig:
        if self.weights is None:
            return self
        names = self._names()
        distinct = tuple(dict.fromkeys(names.values()))
        example = f"{{{distinct[0]}: FILE, ...}}"
        if isinstance(self.weights, str) and len(distinct) > 1:
            raise PydanticCustomError(
                "one_file",
                "weights: a file holds the weights of one network, and these are {count}: {names}. Give a mapping, {example}",
                {"count": len(distinct), "names": ", ".join(distinct), "example": example},
            )
        if isinstance(self.weights, dict):
            unknown = [name for name in self.weights if name not in names]
            lacking = sorted(set(distinct) - {names[name] for name in self.weights if name in names})
            message = unknown_name("backbone", unknown[0], distinct) if unknown else f"no file for {', '.join(lacking)}"
            if unknown or lacking:
                raise PydanticCustomError("wrong_files", "weights: {message}", {"message": message})
        return self

    def _names(self) -> dict[str, str]:
        """From the names of all backbones, as given and canonical, to the canonical ones."""
        given = [Backbone.model_validate(settings) for settings in self.combinations()]
        return {name: entry.canonical().name for entry in given for name in (entry.name, entry.canonical().name)}

    def weights_files(self) -> dict[str, Path]:
        """Files by the name of the canonical backbone; empty where networks start from scratch."""
        if self.weights is None:
            return {}
        names = self._names()
        given = self.weights if isinstance(self.weights, dict) else dict.fromkeys(names, self.weights)
        return {names[name]: Path(file) for name, file in given.items()}

    def resolved(self, base: Path, moved: Callable[[str], str] = str) -> BackboneConfig:
        """The same settings with relative paths of weights taken from `base`, the folder of the YAML file.

        moved: from where a file was to where it is.
        """

        def absolute(file: str) -> str:
            return moved(str(base.absolute() / Path(file).expanduser()))

        if self.weights is None:
            return self
        files = self.weights
        changed = absolute(files) if isinstance(files, str) else {name: absolute(file) for name, file in files.items()}
        return self.model_copy(update={"weights": changed})

    @property
    def positions(self) -> tuple[str, ...]:
        """Where attention may sit in this family."""
        return tuple(FAMILIES[self.family].positions)

    def combinations(self) -> tuple[dict[str, Any], ...]:
        """Settings of every combination, in a fixed order."""
        rows: list[dict[str, Any]] = [_family_defaults(self.family) | {"family": self.family}]
        if self.stem is not None:
            rows[0]["stem"] = self.stem
        for name, choices in self.choices().items():
            rows = [row | {name: choice} for row in rows for choice in choices]
        return tuple(rows)

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The settings that are given as choices, with their choices."""
        given = {name: getattr(self, name) for name in ("depth", "width", "cardinality", "base_width", "variant")}
        return {name: choices for name, choices in given.items() if choices is not None}


def _family_defaults(family: str) -> dict[str, Any]:
    grouped = {"cardinality": 32, "base_width": 4} if family == "resnext" else {}
    return {"stem": FAMILIES[family].default_stem, **grouped}


def _depth_of(family: str) -> dict[str, Any]:
    return {"family": family, "depth": FAMILIES[family].depths[0]}


def _any_depth(family: str, info: ValidationInfo) -> int:
    depths: tuple[int, ...] = info.data.get("depth") or FAMILIES[family].depths
    return depths[0]


def _mistake(settings: dict[str, Any]) -> str | None:
    try:
        Backbone.model_validate(settings)
    except ValueError as error:
        errors = getattr(error, "errors", None)
        return str(errors()[0]["msg"]).removeprefix("Value error, ") if errors else str(error)
    return None
