"""The YAML sections `backbone` and `attention`: what may vary."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.architecture import ATTENTION_KINDS, FAMILIES, POOLS, POSITIONS, Backbone, Pool
from cbam_search.architecture.backbone import Variant
from cbam_search.architecture.geometry import Stem
from cbam_search.architecture.kinds.cbam import ChannelMlp, Order, SpatialDescriptor
from cbam_search.architecture.registry import unknown_name
from cbam_search.space.choices import Choices, OneOf

FamilyName = Annotated[str, OneOf("backbone family", FAMILIES.names())]
KindName = Annotated[str, OneOf("attention kind", ("none", *ATTENTION_KINDS.names()))]
Position = Annotated[str, OneOf("position", tuple(POSITIONS))]
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
        description="depth of the network: one or a list; must be given, but for mobilenet, whose default is 28",
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
    weights: WeightsPath | dict[str, WeightsPath] | None = Field(
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

    def resolved(self, base: Path) -> BackboneConfig:
        """The same settings with relative paths of weights taken from `base`, the folder of the YAML file."""

        def absolute(file: str) -> str:
            return str(base.absolute() / Path(file).expanduser())

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


class PoolSubsets(BaseModel):
    """Every subset of `from` with `at_least` to `at_most` members."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    members: Choices[Pool] = Field(alias="from", description="poolings to choose from: avg, max, lp, lse")
    at_least: int = Field(default=1, ge=1, le=len(POOLS), description="smallest subset")
    at_most: int = Field(default=len(POOLS), ge=1, le=len(POOLS), description="largest subset")

    @model_validator(mode="after")
    def _not_empty(self) -> PoolSubsets:
        if self.at_least > min(self.at_most, len(self.members)):
            raise PydanticCustomError(
                "no_subset",
                "no subset of {members} has at least {at_least} and at most {at_most} members",
                {"members": len(self.members), "at_least": self.at_least, "at_most": self.at_most},
            )
        return self

    def subsets(self) -> tuple[tuple[Pool, ...], ...]:
        ordered = [pool for pool in POOLS if pool in self.members]
        largest = min(self.at_most, len(ordered))
        return tuple(subset for size in range(self.at_least, largest + 1) for subset in combinations(ordered, size))


def _read_kernel_size(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_read_kernel_size(entry) for entry in value)
    return "none" if value is None else value


KernelSize = Annotated[int, Field(ge=1, le=31)] | Literal["none"]
EcaKernelSize = Annotated[int, Field(ge=1, le=31)] | Literal["auto"]


class AttentionConfig(BaseModel):
    """Where attention may sit, of which kinds, and with which settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per: Literal["network", "stage", "block"] = Field(
        default="block", description="one choice for the whole network, one a stage, or one a block"
    )
    kind: Choices[KindName] = Field(default=("none", "se", "cbam"), description="kinds to choose from; none means no attention")
    position: Choices[Position] | None = Field(
        default=None,
        description="where in a block; the default is the published one: branch_end, for mobilenet every_norm",
    )
    reduction_ratio: Choices[Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        description="r: the hidden width is C // r, at least 1 (gc: 4, coordinate: 8); "
        "the default is each kind's published one: 16, for coordinate 32",
    )
    pools: PoolSubsets | tuple[Choices[Pool], ...] = Field(
        default=(("avg", "max"),), description="cbam: a list of pooling sets, or {from, at_least, at_most} for subsets"
    )
    spatial_kernel_size: Annotated[Choices[KernelSize], BeforeValidator(_read_kernel_size)] = Field(
        default=(7,), description="cbam: odd size of the spatial convolution; none leaves the spatial gate out"
    )
    order: Choices[Order] = Field(
        default=("channel_first",), description="cbam: which gate comes first, or both from the same map (parallel)"
    )
    spatial_descriptor: Choices[SpatialDescriptor] = Field(
        default=("pooled",), description="cbam: what the spatial convolution sees, maximum and average, or a learned 1x1 conv"
    )
    channel_mlp: Choices[ChannelMlp] = Field(
        default=("shared",), description="cbam: one MLP shared by the poolings, as published, or one per_pool"
    )
    eca_kernel_size: Choices[EcaKernelSize] = Field(
        default=("auto",), description="eca: odd size of the convolution over channels; auto is the paper's, by the channels"
    )
    dilation: Choices[Annotated[int, Field(ge=1, le=31)]] = Field(
        default=(4,), description="bam: dilation of the 3x3 convolutions of the spatial branch"
    )

    @field_validator("spatial_kernel_size", "eca_kernel_size")
    @classmethod
    def _odd(cls, sizes: tuple[int | str, ...]) -> tuple[int | str, ...]:
        even = [size for size in sizes if isinstance(size, int) and size % 2 == 0]
        if even:
            raise PydanticCustomError("even_kernel", "{size} is even; the kernel size must be odd", {"size": even[0]})
        return sizes

    def pool_sets(self) -> tuple[tuple[Pool, ...], ...]:
        """The pooling sets to choose from, ordered and without repeats."""
        if isinstance(self.pools, PoolSubsets):
            return self.pools.subsets()
        ordered = (tuple(pool for pool in POOLS if pool in pools) for pools in self.pools)
        return tuple(dict.fromkeys(ordered))

    def settings_choices(self) -> dict[str, tuple[Any, ...]]:
        """Choices of every setting that some offered kind reads, as values of its spec.

        Without reduction_ratio where it is not given: each kind then has its own.
        """
        offered: dict[str, tuple[Any, ...]] = {
            "reduction_ratio": self.reduction_ratio or (),
            "pools": self.pool_sets(),
            "spatial_kernel_size": tuple(None if size == "none" else size for size in self.spatial_kernel_size),
            "order": self.order,
            "spatial_descriptor": self.spatial_descriptor,
            "channel_mlp": self.channel_mlp,
            "eca_kernel_size": self.eca_kernel_size,
            "dilation": self.dilation,
        }
        read = {name for kind in self.kind for name in settings_of(kind)}
        return {name: choices for name, choices in offered.items() if choices and name in read}


def settings_of(kind: str) -> tuple[str, ...]:
    """Names of the settings that a kind reads; none reads none."""
    return () if kind == "none" else ATTENTION_KINDS[kind].settings()
