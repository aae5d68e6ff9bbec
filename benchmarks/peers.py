"""The searches that are compared: Optuna's samplers with full training, with ASHA on accuracy alone, and this project's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from simulation import Setting

from cbam_search.architecture import Architecture
from cbam_search.metrics import Measured
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Candidate
from cbam_search.search.config import SchedulerConfig, SearchConfig
from cbam_search.search.published import published_designs
from cbam_search.search.rungs import Rungs

UNBOUNDED = 1_000_000
"""Trials of a search that stops some early: it ends by epochs alone."""


@dataclass(frozen=True)
class Method:
    """A search by name. stops: how trials are stopped early. bare_first: begin with the bare network of every backbone, as
    `search.baselines: [none]` does, and known_cost by itself. ours: whether its sampler or scheduler is this project's.
    trainings_at_most: of a sampler that takes its time, the budget in full trainings, where that is less than the others'.
    """

    name: str
    sampler: str
    stops: Literal["none", "accuracy_asha", "pareto_asha"] = "none"
    grace_period: int = 3
    reduction_factor: int = 3
    bare_first: bool = False
    ours: bool = False
    trainings_at_most: int | None = None

    def budget(self, epochs_at_most: int, full_training: int) -> int:
        """Epochs of one search."""
        return min(epochs_at_most, (self.trainings_at_most or epochs_at_most) * full_training)

    def config(self, trainings: int) -> SearchConfig:
        """trainings: full ones that the budget is worth; samplers set themselves up for so many trials."""
        kind = "pareto_asha" if self.stops == "pareto_asha" else "none"
        scheduler = SchedulerConfig(kind=kind, grace_period=self.grace_period, reduction_factor=self.reduction_factor)
        trials = trainings if self.stops == "none" else UNBOUNDED
        return SearchConfig(trials=trials, baselines=(), sampler=self.sampler, scheduler=scheduler)

    def rungs(self, setting: Setting, config: SearchConfig) -> Rungs | None:
        if self.stops == "none":
            return None
        kind = Rungs if self.stops == "pareto_asha" else AccuracyAsha
        made = setting.table.metadata
        return kind(config.scheduler, epochs=made.epochs, bounds=made.bounds, measured_bounds={})

    def first(self, setting: Setting) -> tuple[Architecture, ...]:
        if not self.bare_first:
            return ()
        backbones, cost = len(setting.space.backbones), setting.cost.cost
        bounds = setting.table.metadata.bounds
        return published_designs(setting.space, ("none",), at_most_backbones=backbones, cost=cost, bounds=bounds).trained


class AccuracyAsha(Rungs):
    """Ray's own asynchronous successive halving on accuracy alone, asked as the study's rungs are."""

    def __init__(self, config: SchedulerConfig, *, epochs: int, **bounds: Mapping[str, float]) -> None:
        super().__init__(config, epochs=epochs, **bounds)
        self._asha = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="accuracy",
            mode="max",
            max_t=epochs,
            grace_period=config.grace_period,
            reduction_factor=config.reduction_factor,
        )
        self._begun: set[int] = set()
        self._verdicts: dict[int, str] = {}

    def epoch(
        self,
        trial: int,
        candidate: Candidate,  # noqa: ARG002
        epoch: int,
        metrics: Mapping[str, float],
        measured: Mapping[str, Measured],  # noqa: ARG002
        objectives: Sequence[ObjectiveAxis],  # noqa: ARG002
    ) -> None:
        ray_trial = SimpleNamespace(trial_id=str(trial))
        if trial not in self._begun:
            self._begun.add(trial)
            self._asha.on_trial_add(None, ray_trial)
        result = {"epoch": epoch, "accuracy": metrics["accuracy"]}
        self._verdicts[trial] = self._asha.on_trial_result(None, ray_trial, result)

    def reason_to_stop(self, trial: int, objectives: Sequence[ObjectiveAxis]) -> str | None:  # noqa: ARG002
        return "behind in accuracy" if self._verdicts.get(trial) == TrialScheduler.STOP else None


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("random", "random"),
        Method("tpe", "tpe"),
        Method("nsga2", "nsga2"),
        Method("gp", "gp", trainings_at_most=40),  # a second a proposal
        Method("random + asha", "random", stops="accuracy_asha"),
        Method("tpe + asha", "tpe", stops="accuracy_asha"),
        Method("random, bare first", "random", bare_first=True),
        Method("tpe, bare first", "tpe", bare_first=True),
        Method("nsga2, bare first", "nsga2", bare_first=True),
        Method("random + pareto_asha", "random", stops="pareto_asha", ours=True),
        Method("tpe + pareto_asha", "tpe", stops="pareto_asha", ours=True),
        Method("known_cost", "known_cost", ours=True),
        Method("known_cost + pareto_asha", "known_cost", stops="pareto_asha", ours=True),
        Method(
            "known_cost + pareto_asha, late", "known_cost", stops="pareto_asha", grace_period=6, reduction_factor=2, ours=True
        ),
    )
}
DEFAULT = "known_cost"
"""What a study does that names no sampler and no scheduler: compared with the best of all peers, and not the best of ours."""
