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
    """The images. train, validation: how many; None where the data were not loaded."""

    image_size: tuple[int, int]
    channels: int
    classes: int
    train: int | None = None
    validation: int | None = None


@dataclass(frozen=True)
class Design:
    """A published design. excluded: by a constraint."""

    architecture: Architecture
    cost: Cost
    excluded: bool

    @property
    def label(self) -> str:
        return self.architecture.label


@dataclass(frozen=True)
class TimedNetwork:
    """An epoch of one network, estimated from `images` of the training split in batches of batch_size at most."""

    label: str
    gflops: float
    epoch_seconds: float
    images: int
    batch_size: int


@dataclass(frozen=True)
class TimeEstimate:
    """Of the trainings alone, on the machine that timed them, with nothing else running.

    networks: from the cheapest to the costliest. epoch_seconds: of the average trial, interpolated in gflops between the timed
    networks. trials: how many there would be, of so many epochs. concurrent: trials at once; undisturbed: how many of these
    would have cores and a GPU of their own. threads: of each.
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
        """Of all trials, were every epoch as long as that; by default, as the average trial's."""
        each = self.epoch_seconds if epoch_seconds is None else epoch_seconds
        return self.trials * self.epochs * each / self.concurrent / 3600.0

    @property
    def hours_at_worst(self) -> float:
        """Where trials that share a core or a GPU gain nothing by it."""
        return self.hours() * self.concurrent / self.undisturbed


@dataclass(frozen=True)
class Plan:
    """left: the least and the most that the share of the space within all bounds can be. sampler, trials, epochs: of the YAML.

    untimed: why there is no estimate, where there is none. latency, latency_at_most: where trials measure latency_ms, on what,
    and its bound; a plan does not know it. scheduler, stop: of the YAML too. notes: what is odd about costs, or about the
    weights that trainings start from.
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
    estimate: TimeEstimate | None = None
    untimed: str | None = None
    latency: LatencyConfig | None = None
    latency_at_most: float | None = None
    notes: tuple[str, ...] = ()
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    stop: StopConfig = field(default_factory=StopConfig)

    @property
    def expected_epochs(self) -> float | None:
        """Epochs of a trial of the sampler's, were each rung to let just one trial in `reduction_factor` go on; None where
        nothing is stopped early. Asynchronous rungs let more go on: the first that arrive have nobody to be compared with.
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
    def architectures_left(self) -> int | None:
        """How many the constraints leave; None where their number is not known exactly."""
        if not self.bounds:
            return self.costs.count
        least, most = self.left
        if least != most or self.costs.count > _COUNTED_EXACTLY:
            return None
        return round(least * self.costs.count)


_COUNTED_EXACTLY = 10**11
"""Shares are known to about 1e-12, so that their product with a larger number is no whole number."""
