"""How much training a search takes to find the front: searches replayed on tables of real trainings.

    python benchmarks/search_quality.py benchmarks/tables/digits.parquet --repetitions 30 --processes 2

benchmarks/README.md says what is measured, and how. Prints a table, and writes it, a picture and every figure behind them into
benchmarks/results/ as search_quality_<table>.{txt,png,json}.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from peers import METHODS, Method
from search_quality_report import write_report
from simulation import Setting, Simulated, simulate

from cbam_search.pareto import Axis, hypervolume, ranks
from cbam_search.records.table import Table, read_table
from cbam_search.study.environment import hardware, versions

RESULTS = Path(__file__).parent / "results"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What one repetition goes by. draws: (A,), the recorded seed that every training has. seen: (A,), its validation accuracy
    after the last epoch. true: (A,), mean test accuracy of the other seeds. whole: the hypervolume of the front that the seen
    values of the whole table choose: 100 %. best: that of the front by the true values, which nobody can know.
    """

    draws: npt.NDArray[np.int64]
    seen: Floats
    true: Floats
    gflops: Floats
    axes: tuple[Axis, Axis]

    @classmethod
    def of(cls, table: Table, repetition: int) -> Scores:
        if not table.metadata.complete:
            raise SystemExit(f"{table.metadata.name} is not complete; run tabulate on it again")
        count, seeds = table.test_accuracy.shape
        draws = np.random.default_rng([repetition, 0]).integers(seeds, size=count)
        drawn = np.arange(seeds)[None] == draws[:, None]
        # What diverged is worth what a constant answer is.
        chance = next(axis.reference for axis in table.metadata.objectives if axis.name == "accuracy")
        test = np.where(np.isfinite(table.test_accuracy), table.test_accuracy, chance)
        true = np.where(drawn, 0.0, test).sum(axis=1) / (seeds - 1)
        seen = table.validation_accuracy[np.arange(count), draws, -1]
        axes = {objective.name: objective.axis() for objective in table.metadata.objectives}
        if sorted(axes) != ["accuracy", "gflops"]:
            raise SystemExit("the objectives of the table must be accuracy and gflops")
        return cls(draws, seen, true, np.array([entry.gflops for entry in table.entries]), (axes["accuracy"], axes["gflops"]))

    def worth(self, rows: npt.NDArray[np.int64]) -> float:
        """Of full trainings, those on the front as it was seen, at their true values: the hypervolume."""
        rows = rows[np.isfinite(self.seen[rows])]
        front = rows[ranks(np.column_stack([self.seen[rows], self.gflops[rows]]), [True, False]) == 0]
        return hypervolume(np.column_stack([self.true[front], self.gflops[front]]), self.axes)

    @property
    def whole(self) -> float:
        return self.worth(np.arange(len(self.seen)))

    @property
    def best(self) -> float:
        return hypervolume(np.column_stack([self.true, self.gflops]), self.axes)


@dataclass(frozen=True)
class Trace:
    """One search. Of each full training in order: share of `Scores.whole`, and what had been spent by then."""

    method: str
    workers: int
    repetition: int
    share: list[float]
    epochs: list[float]
    gflop_epochs: list[float]
    seconds: list[float]
    started: int
    took_seconds: float


@dataclass(frozen=True)
class Job:
    table: Path
    method: Method
    workers: int
    repetition: int
    epochs_at_most: int


@cache
def _setting(path: Path) -> Setting:
    return Setting(read_table(path))


def run(job: Job) -> Trace:
    """One search, scored."""
    setting = _setting(job.table)
    scores = Scores.of(setting.table, job.repetition)
    full_training = setting.table.metadata.epochs
    budget = job.method.budget(job.epochs_at_most, full_training)
    begun = time.perf_counter()
    found: Simulated = simulate(
        setting,
        job.method.config(budget // full_training),
        scores.draws,
        workers=job.workers,
        epochs_at_most=budget,
        seed=job.repetition,
        rungs=job.method.rungs,
        published=job.method.first(setting),
    )
    took = time.perf_counter() - begun
    whole = scores.whole
    share = [scores.worth(found.rows[: count + 1]) / whole for count in range(len(found.rows))]
    spent = [found.epochs.tolist(), found.gflop_epochs.tolist(), found.seconds.tolist()]
    return Trace(job.method.name, job.workers, job.repetition, share, *spent, found.started, took)


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description="Searches replayed on a table.")
    options.add_argument("table", type=Path)
    options.add_argument("--repetitions", type=int, default=30)
    options.add_argument("--workers", type=int, nargs="+", default=[4, 16])
    options.add_argument(
        "--epochs-at-most",
        type=int,
        help="budget of a search; by default 100 full trainings",
    )
    options.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    options.add_argument(
        "--add", action="store_true", help="to what an earlier run with the same figures found of other methods"
    )
    options.add_argument("--processes", type=int, default=1)
    options.add_argument("--output", type=Path, help="where the three files go, without their endings")
    chosen = options.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = read_table(chosen.table)
    budget = chosen.epochs_at_most or 100 * table.metadata.epochs
    jobs = [
        Job(chosen.table, METHODS[name], workers, repetition, budget)
        for name in chosen.methods
        for workers in chosen.workers
        for repetition in range(chosen.repetitions)
    ]
    with ProcessPoolExecutor(chosen.processes) as pool:
        traces = list(pool.map(run, jobs))
    scores = [Scores.of(table, repetition) for repetition in range(chosen.repetitions)]
    heading = {
        "command": shlex.join(["python", "benchmarks/search_quality.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "hardware": hardware(),
        "versions": {name: number for name, number in versions().items() if name in ("python", "cbam-search", "optuna", "ray")},
        "table": table.metadata.name,
        "architectures": len(table.entries),
        "epochs_of_a_full_training": table.metadata.epochs,
        "budget_epochs": budget,
        "whole_of_best": [entry.whole / entry.best for entry in scores],
    }
    output = chosen.output or RESULTS / f"search_quality_{chosen.table.stem}"
    output.parent.mkdir(parents=True, exist_ok=True)
    raw = {"heading": heading, "traces": [asdict(trace) for trace in traces]}
    if chosen.add:
        raw = _added(json.loads(output.with_suffix(".json").read_text()), raw)
    output.with_suffix(".json").write_text(json.dumps(raw))
    print(write_report(raw, output))


def _added(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Both runs' traces; of a method that both have, the later ones. The heading is the earlier one's, with both commands."""
    differing = [name for name in before["heading"] if name != "command" and before["heading"][name] != now["heading"][name]]
    if differing:
        raise SystemExit(f"the earlier run differs in {', '.join(differing)}")
    again = {trace["method"] for trace in now["traces"]}
    kept = [trace for trace in before["traces"] if trace["method"] not in again]
    command = f"{before['heading']['command']}; {now['heading']['command']}"
    order = list(METHODS)
    traces = sorted(kept + now["traces"], key=lambda trace: order.index(trace["method"]))
    return {"heading": before["heading"] | {"command": command}, "traces": traces}


if __name__ == "__main__":
    main()
