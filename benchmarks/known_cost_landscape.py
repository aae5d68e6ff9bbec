"""Samplers on a synthetic landscape with noise: nothing is trained, accuracies are made up.

    python benchmarks/known_cost_landscape.py --repetitions 20 --output benchmarks/results/known_cost_landscape.txt

Optuna's gp takes seconds a proposal here and is left out unless asked for: --samplers gp known_cost.

What it shows is whether a search finds what is there when the effects are of the expected form and size; whether real
accuracies are of that form only trainings can show. Costs are the real ones. Every search starts with the published designs,
trains one candidate at a time to the end, and sees each accuracy once, with noise. The front it would report is chosen by these
noisy values and scored by the true ones: the hypervolume of the true points of the chosen members, relative to the best front
of the whole space where that can be enumerated, else to the front of all candidates that any of the searches met.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import optuna

from cbam_search.architecture import Architecture
from cbam_search.cost.model import CostModel
from cbam_search.pareto import Axis, hypervolume, ranks
from cbam_search.search.published import published_designs
from cbam_search.search.sampler_registry import SAMPLERS
from cbam_search.search.samplers import ParameterCodec, Task, build_sampler
from cbam_search.search.space_costs import space_costs
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space
from cbam_search.study.environment import hardware, versions

SIZE = (32, 32)
NOISE = 0.004
"""Standard deviation of one training about the true accuracy: seed and validation images."""
OWN = 0.0015
"""Standard deviation of what an architecture has of its own, that no feature tells; true, not noise."""
ATTENTION = {
    "stage": {"per": "stage", "pools": [["avg"], ["avg", "max"]], "reduction_ratio": [4, 16], "spatial_kernel_size": [3, 7]},
    "block": {
        "per": "block",
        "pools": {"from": ["avg", "max", "lp", "lse"], "at_least": 1, "at_most": 2},
        "reduction_ratio": [4, 8, 16],
        "spatial_kernel_size": [3, 5, 7],
    },
}
ENUMERATED_AT_MOST = 50_000


@dataclass(frozen=True)
class Landscape:
    """True accuracies over one space. Effects are drawn from `seed`; searches know nothing of them."""

    space: Space
    cost: CostModel
    seed: int
    effects: dict[str, float] = field(default_factory=dict)

    def accuracy(self, architecture: Architecture) -> float:
        """More compute helps, less and less. Attention helps or harms by kind, stage and settings; together it saturates, and
        it helps small networks more.
        """
        size = math.log(self.cost.cost(architecture).gflops / 0.01)
        blocks = len(architecture.backbone.geometry().blocks)
        gain = sum(self._site(site.stage, spec.model_dump()) for site, spec in architecture.placed) / blocks
        own = np.random.default_rng([self.seed, int(architecture.digest[:12], 16)]).normal(0.0, OWN)
        return float(0.88 + 0.05 * math.tanh(0.5 * size) + 0.025 * math.tanh(gain) * (1.0 - 0.3 * math.tanh(size)) + own)

    def _site(self, stage: int, settings: dict[str, object]) -> float:
        kind = str(settings.pop("kind"))
        total = self._effect(f"{kind}", 0.5) + self._effect(f"{kind} in stage {stage}", 0.5)
        return total + sum(self._effect(f"{kind} {name} {value}", 0.25) for name, value in sorted(settings.items()))

    def _effect(self, name: str, deviation: float) -> float:
        if name not in self.effects:
            self.effects[name] = float(np.random.default_rng([self.seed, *name.encode()]).normal(0.0, deviation))
        return self.effects[name]


@cache
def _setting(name: str) -> tuple[Space, CostModel, tuple[Axis, Axis]]:
    backbone = BackboneConfig(family="cifar_resnet", depth=(20, 32), width=(0.5, 1.0))
    space = Space(backbone, AttentionConfig.model_validate(ATTENTION[name]), in_channels=3, classes=10)
    cost = CostModel(SIZE)
    costliest = space_costs(space, cost).range("gflops")[1]
    return space, cost, (Axis("accuracy", True, 0.1, 1.0), Axis("gflops", False, costliest, 0.0))


@dataclass(frozen=True)
class Search:
    """values: (n, 3), of each trial the accuracy seen, the true one, and gflops. seconds: of each proposal."""

    sampler: str
    values: np.ndarray
    seconds: np.ndarray


def search(setting: str, sampler_name: str, repetition: int, trials: int) -> Search:
    """One search; landscape and noise are the repetition's, the same for every sampler."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space, cost, axes = _setting(setting)
    landscape = Landscape(space, cost, repetition)
    codec = ParameterCodec(space.parameters, as_index=SAMPLERS[sampler_name].choices_as_numbers)
    task = Task(space=space, cost=cost.cost, axes=axes, bounds={})
    sampler = build_sampler(sampler_name, seed=repetition, trials=trials, codec=codec, task=task)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    designs = published_designs(space, ("none", "se", "cbam"), at_most_backbones=4, cost=cost.cost, bounds={}).trained
    for design in designs:
        if (parameters := space.encode(design)) is not None:
            study.enqueue_trial(codec.encode(parameters))
    values: dict[str, tuple[float, float, float]] = {}
    seconds: list[float] = []
    noise = np.random.default_rng([repetition, 1])
    while len(values) < trials and len(study.trials) < 20 * trials:
        begun = time.perf_counter()
        trial = study.ask(codec.distributions())
        took = time.perf_counter() - begun
        architecture = space.decode(codec.decode(trial.params))
        digest = architecture.digest
        if digest not in values:
            true = landscape.accuracy(architecture)
            values[digest] = (true + noise.normal(0.0, NOISE), true, cost.cost(architecture).gflops)
            seconds.append(took)
        # A duplicate replays its value and counts as no training.
        study.tell(trial, [values[digest][0], values[digest][2]])
    return Search(sampler_name, np.array(list(values.values())), np.array(seconds))


def scored(values: np.ndarray, axes: tuple[Axis, Axis]) -> float:
    """Hypervolume of the true points of those that are on the front as it was seen."""
    front = ranks(values[:, [0, 2]], [True, False]) == 0
    return hypervolume(values[front][:, [1, 2]], axes)


def best(setting: str, repetition: int, searches: list[Search]) -> float:
    """The hypervolume that stands for 100 %."""
    space, cost, axes = _setting(setting)
    if space.count() <= ENUMERATED_AT_MOST:
        landscape = Landscape(space, cost, repetition)
        points = [(landscape.accuracy(entry), cost.cost(entry).gflops) for entry in space.enumerate()]
    else:
        points = [(row[1], row[2]) for found in searches for row in found.values]
    return hypervolume(points, axes)


def _repetition(job: tuple[str, list[str], int, int, list[int]]) -> tuple[dict[str, list[float]], dict[str, float]]:
    setting, samplers, repetition, trials, marks = job
    searches = [search(setting, name, repetition, trials) for name in samplers]
    whole, axes = best(setting, repetition, searches), _setting(setting)[2]
    shares = {found.sampler: [100 * scored(found.values[:mark], axes) / whole for mark in marks] for found in searches}
    return shares, {found.sampler: 1000 * float(np.median(found.seconds[-20:])) for found in searches}


def main() -> None:
    options = argparse.ArgumentParser(description="Samplers on a synthetic landscape.")
    options.add_argument("--repetitions", type=int, default=20)
    options.add_argument("--trials", type=int, default=150)
    options.add_argument("--settings", nargs="+", default=list(ATTENTION), choices=list(ATTENTION))
    compared = [name for name in SAMPLERS if not SAMPLERS[name].enumerates]
    options.add_argument("--samplers", nargs="+", default=["random", "tpe", "nsga2", "known_cost"], choices=compared)
    options.add_argument("--processes", type=int, default=1)
    options.add_argument("--output", type=Path, help="file for what is printed, too")
    options.add_argument("--append", action="store_true", help="add to that file")
    chosen = options.parse_args()
    marks = sorted({mark for mark in (20, 40, 80, 150, 300) if mark < chosen.trials} | {chosen.trials})
    lines = _heading()
    for setting in chosen.settings:
        jobs = [(setting, chosen.samplers, number, chosen.trials, marks) for number in range(chosen.repetitions)]
        with ProcessPoolExecutor(chosen.processes) as pool:
            results = list(pool.map(_repetition, jobs))
        lines += _table(setting, marks, chosen.samplers, results)
    print("\n".join(lines))
    if chosen.output:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        with chosen.output.open("a" if chosen.append else "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def _heading() -> list[str]:
    shown = {name: number for name, number in versions().items() if name in ("python", "optuna", "cbam-search")}
    return [
        f"command: python benchmarks/known_cost_landscape.py {' '.join(sys.argv[1:])}",
        f"hardware: {hardware()}",
        f"versions: {json.dumps(shown)}",
        f"SYNTHETIC accuracies, nothing was trained: noise of {NOISE} a training, {OWN} of each architecture's own",
    ]


Results = list[tuple[dict[str, list[float]], dict[str, float]]]


def _table(setting: str, marks: list[int], samplers: list[str], results: Results) -> list[str]:
    space = _setting(setting)[0]
    whole = "the best front" if space.count() <= ENUMERATED_AT_MOST else "the front of all that the searches met"
    lines = [
        "",
        f"space '{setting}': {space.count():,} architectures; n = {len(results)} landscapes",
        f"% of the hypervolume of {whole} after so many trainings: median (quartiles)",
        f"{'sampler':12}" + "".join(f"{mark:>26}" for mark in marks) + f"{'ms a proposal':>16}",
    ]
    for name in samplers:
        shares = np.array([result[0][name] for result in results])
        cells = "".join(f"{_spread(column):>26}" for column in shares.T)
        lines.append(f"{name:12}{cells}{np.median([result[1][name] for result in results]):>16.1f}")
    return lines


def _spread(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
