"""What is known of a search before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from cbam_search.architecture import Architecture
from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.cost import Cost
from cbam_search.metrics import Direction
from cbam_search.search.config import SchedulerConfig, StopConfig
from cbam_search.search.early_stopping import rung_levels
from cbam_search.search.space_costs import SpaceCosts

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class PlannedData:
    """The images. train, validation: number of images; None where the data were not loaded. validation_classes: how many
    classes the validation images have. notes: what was found in them.
    """

    image_size: tuple[int, int]
    channels: int
    classes: int
    train: int | None = None
    validation: int | None = None
    validation_classes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Design:
    """A published design. excluded: whether it breaks a constraint, so that it is not trained."""

    architecture: Architecture
    cost: Cost
    excluded: bool

    @property
    def label(self) -> str:
        return self.architecture.label


@dataclass(frozen=True)
class TimedNetwork:
    """How long one network trains an epoch, estimated from `images` training images in batches of at most `batch_size`."""

    label: str
    gflops: float
    epoch_seconds: float
    images: int
    batch_size: int


@dataclass(frozen=True)
class TimeEstimate:
    """How long the trainings take on the machine that timed them, with nothing else running there.

    networks: those that were timed, from the cheapest to the costliest.
    epoch_seconds: of the average trial, interpolated in gflops between the timed networks.
    trials, epochs: number of trainings, and of epochs of each.
    concurrent: trials at once.
    undisturbed: how many of these have cores and a GPU of their own.
    threads: CPU threads of each trial.
    hardware: of that machine, in words.
    """

    networks: tuple[TimedNetwork, ...]
    epoch_seconds: float
    trials: int
    epochs: int
    concurrent: int
    undisturbed: int
    threads: int
    hardware: str

    def hours(self, epoch_seconds: float | None = None) -> float:
        """Of all trials, if every epoch took `epoch_seconds`; by default, those of the average trial."""
        each = self.epoch_seconds if epoch_seconds is None else epoch_seconds
        return self.trials * self.epochs * each / self.concurrent / 3600.0

    @property
    def hours_at_worst(self) -> float:
        """Where trials that share a core or a GPU gain nothing by it."""
        return self.hours() * self.concurrent / self.undisturbed


@dataclass(frozen=True)
class Plan:
    """What `plan` reports of a YAML file.

    name, objectives, sampler, trials, epochs, batch_size, scheduler, stop: as in the YAML, with `auto` resolved.
    parameters: number of the flat set that samplers see.
    bounds: upper ones, on known costs.
    left: least and most that the share of architectures within all bounds can be; equal where it is exact.
    designs_outside: number of the published designs to be trained that the space lacks.
    untimed: why there is no estimate; None where there is one.
    latency, latency_at_most: where trials measure latency_ms, the device and the upper bound; plans measure no latency.
    notes: what is odd about the space, costs, or the weights that trainings start from.
    """

    name: str
    parameters: int
    costs: SpaceCosts
    objectives: dict[str, Direction]
    bounds: dict[str, float]
    left: tuple[float, float]
    designs: tuple[Design, ...]
    data: PlannedData
    sampler: str
    trials: int
    epochs: int
    batch_size: int
    designs_outside: int = 0
    estimate: TimeEstimate | None = None
    untimed: str | None = None
    latency: LatencyConfig | None = None
    latency_at_most: float | None = None
    notes: tuple[str, ...] = ()
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    stop: StopConfig = field(default_factory=StopConfig)

    @property
    def expected_epochs(self) -> float | None:
        """Mean epochs of a trial that the sampler proposes, if at each rung just one in `reduction_factor` goes on.

        None where no trial is stopped early. In fact more go on: the first to arrive at a rung have none to be compared with.
        """
        levels = rung_levels(self.scheduler.grace_period, self.scheduler.reduction_factor, self.epochs)
        if self.scheduler.kind == "none" or not levels:
            return None
        shares = [float(self.scheduler.reduction_factor) ** -number for number in range(1, len(levels) + 1)]
        between = [after - before for before, after in pairwise((*levels, self.epochs))]
        return levels[0] + sum(share * epochs for share, epochs in zip(shares, between, strict=True))

    @property
    def trained_designs(self) -> int:
        return sum(not design.excluded for design in self.designs)

    @property
    def leaves_nothing(self) -> bool:
        """Whether the bounds surely exclude every architecture, alone or together."""
        excluded = [any(entry.range(name)[0] > bound for name, bound in self.bounds.items()) for entry in self.costs.backbones]
        return all(excluded) or (self.costs.count <= _COUNTED_EXACTLY and self.left[1] * self.costs.count < 0.5)

    @property
    def architectures_left(self) -> int | None:
        """How many architectures are within all bounds; None where the number is not known exactly."""
        if not self.bounds:
            return self.costs.count
        least, most = self.left
        if least != most or self.costs.count > _COUNTED_EXACTLY:
            return None
        return round(least * self.costs.count)


_COUNTED_EXACTLY = 10**11
"""Shares are known to about 1e-12, so that their product with a larger number is no whole number."""
