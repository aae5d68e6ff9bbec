"""The YAML section `attention`: where it may sit, of which kinds, with which settings."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.architecture import ATTENTION_KINDS, POOLS, POSITIONS, Pool
from cbam_search.architecture.kinds.cbam import ChannelMlp, Order, SpatialDescriptor
from cbam_search.space.choices import Choices, OneOf

KindName = Annotated[str, OneOf("attention kind", ("none", *ATTENTION_KINDS.names()))]
Position = Annotated[str, OneOf("position", tuple(POSITIONS))]


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
