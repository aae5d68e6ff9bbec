"""How long a study's trainings would take on this machine, from timing three of its networks."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from cbam_search.architecture import Architecture
from cbam_search.cost.model import CostModel
from cbam_search.data.images import ImageData
from cbam_search.errors import ResourceError
from cbam_search.own_code import NO_CODE, CodePermission
from cbam_search.running.config import cores_here
from cbam_search.running.probe import probe_epoch
from cbam_search.running.worker import WorkerJob
from cbam_search.search.feasibility import excess
from cbam_search.search.plan import Plan, TimedNetwork, TimeEstimate
from cbam_search.space.space import Space, UnitOption
from cbam_search.study.config import StudyConfig
from cbam_search.study.environment import hardware

PROPOSALS = 200
"""Drawn at random, as samplers begin, to see what trials cost."""


def estimate_time(
    plan: Plan, config: StudyConfig, space: Space, cost: CostModel, data: ImageData, *, code: CodePermission = NO_CODE
) -> TimeEstimate:
    """Train the cheapest, a middling and the costliest network within the constraints, for a moment each.

    Raises ResourceError when no trial fits on this machine, or a network does not fit into its memory.
    """
    concurrent, undisturbed = _concurrent_trials(config)
    draw = random.Random(config.seed)
    drawn = (space.decode({entry.name: draw.choice(entry.choices) for entry in space.parameters}) for _ in range(PROPOSALS))
    proposals = _feasible(drawn, plan, cost)
    designs = [design.architecture for design in plan.designs if not design.excluded]
    extremes = _feasible([_cheapest_or_costliest(space, plan, cost, largest=largest) for largest in (False, True)], plan, cost)
    known = _by_gflops([*extremes, *designs, *proposals], cost)
    if not known:
        raise ResourceError(f"none of {PROPOSALS} random proposals keeps within the constraints")
    middling = _by_gflops(proposals or known, cost)
    chosen = _by_gflops([known[0], middling[len(middling) // 2], known[-1]], cost)
    with _threads_kept():
        networks = tuple(_timed(architecture, cost, data, config, code) for architecture in chosen)
    trials = min(config.search.trials, max(1, int(plan.left[1] * plan.costs.count)))
    found = max(0, trials - len(designs))

    def seconds(architectures: list[Architecture]) -> float:
        """Of an epoch, on average."""
        gflops = [cost.cost(architecture).gflops for architecture in architectures]
        known_gflops, known_seconds = zip(*((network.gflops, network.epoch_seconds) for network in networks), strict=True)
        return float(np.interp(gflops, known_gflops, known_seconds).mean()) if gflops else 0.0

    return TimeEstimate(
        networks=networks,
        epoch_seconds=(len(designs) * seconds(designs) + found * seconds(proposals or known)) / (len(designs) + found),
        trials=trials,
        epochs=config.training.epochs,
        concurrent=concurrent,
        undisturbed=undisturbed,
        threads=config.resources.threads,
        hardware=hardware(),
    )


def _concurrent_trials(config: StudyConfig) -> tuple[int, int]:
    """Trials that run at once on this machine, and how many of them share no core and no GPU."""
    resources, cpus, gpus = config.resources, cores_here(), torch.cuda.device_count()
    concurrent = resources.trials_at_once(cpus, gpus, of="this machine")
    apart = cpus // resources.threads
    if resources.gpus_of_a_trial(gpus) > 0:
        apart = min(apart, gpus)
    return concurrent, max(1, min(concurrent, apart))


def _cheapest_or_costliest(space: Space, plan: Plan, cost: CostModel, *, largest: bool) -> Architecture:
    """The cheapest or costliest architecture of the space, in gflops."""
    pick = max if largest else min
    backbone = pick(plan.costs.backbones, key=lambda entry: entry.range("gflops")[largest]).backbone

    def chosen(unit: str, options: tuple[UnitOption, ...]) -> UnitOption:
        return pick(options, key=lambda option: cost.cost(space.with_options(backbone, {unit: option})).gflops)

    return space.with_options(backbone, {unit: chosen(unit, options) for unit, options in space.options(backbone).items()})


def _feasible(architectures: Iterable[Architecture], plan: Plan, cost: CostModel) -> list[Architecture]:
    return [architecture for architecture in architectures if excess(cost.cost(architecture), plan.bounds) == 0]


def _by_gflops(architectures: Iterable[Architecture], cost: CostModel) -> list[Architecture]:
    """Each once, from the cheapest to the costliest."""
    distinct = {architecture.digest: architecture for architecture in architectures}
    return sorted(distinct.values(), key=lambda architecture: cost.cost(architecture).gflops)


def _timed(
    architecture: Architecture, cost: CostModel, data: ImageData, config: StudyConfig, code: CodePermission
) -> TimedNetwork:
    job = WorkerJob(recipe=config.training, threads=config.resources.threads, on_gpu=torch.cuda.is_available(), code=code)
    probed = probe_epoch(architecture, data, job)
    return TimedNetwork(
        label=architecture.label,
        gflops=cost.cost(architecture).gflops,
        epoch_seconds=probed.seconds,
        images=probed.images,
        batch_size=probed.batch_size,
    )


@contextmanager
def _threads_kept() -> Iterator[None]:
    """A worker takes as many threads as a trial has; afterwards this process has those that it had before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
