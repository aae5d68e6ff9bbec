"""A study of thousands of trials through the real driver, without Ray and with a fake trainer: what a trial costs the driver.

    python benchmarks/ten_thousand_trials.py --output benchmarks/results/ten_thousand_trials_known_cost.txt
    python benchmarks/ten_thousand_trials.py --sampler random --scheduler none

Proposer, conductor, rungs, records, SQLite storage and ledger are those of a study, on disk in a temporary folder. What is fake
is the training: an accuracy by cost, attention and digest, in no time. So all that is measured is what the driver does: to find
and record a candidate (`ask`), to record its epochs and judge it at rungs (`epochs`), and to record its end (`tell`).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from cbam_search.cost.model import CostModel
from cbam_search.records.events import Event, TrialFinished, TrialStarted
from cbam_search.records.folder import StudyFolder
from cbam_search.records.manifest import DataSummary, ObjectiveAxis, StudyManifest
from cbam_search.records.settling import settle
from cbam_search.records.study_records import StudyRecords, open_records
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.running.conductor import Conductor
from cbam_search.running.executors.simulated import SimulatedExecutor, Steps
from cbam_search.running.run import run_trials
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.search.config import SearchConfig
from cbam_search.search.proposer import Proposer
from cbam_search.search.published import published_designs
from cbam_search.search.reference import BEYOND_THE_WORST
from cbam_search.search.rungs import Rungs
from cbam_search.search.sampler_registry import SAMPLERS
from cbam_search.search.space_costs import space_costs
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space
from cbam_search.study.environment import hardware, versions
from cbam_search.training.epoch import Epoch

SIZE = (32, 32)
EPOCHS, WORKERS = 10, 4
MARKS = (100, 300, 1_000, 3_000, 10_000)
AROUND = 50
"""Trials on either side of a mark that its figures are of."""
PARTS = ("ask", "epochs", "tell")


class FakeTrainer:
    """Metrics of an epoch: compute and attention help, an architecture has something of its own, and epochs are noisy."""

    def __init__(self) -> None:
        self._accuracies: dict[int, float] = {}

    def metrics(self, trial: Trial, epoch: int) -> dict[str, float]:
        if epoch == 1:
            self._accuracies[trial.number] = self._last(trial)
        last = self._accuracies[trial.number] if epoch < EPOCHS else self._accuracies.pop(trial.number)
        noise = np.random.default_rng([epoch, int(trial.candidate.digest[:12], 16)]).normal(0.0, 0.004)
        accuracy = 0.1 + (last - 0.1) * (1.0 - 0.5**epoch) + noise
        names = ("train_loss", "validation_loss", "balanced_accuracy", "macro_f1", "learning_rate")
        return {"accuracy": float(np.clip(accuracy, 0.0, 1.0)), **dict.fromkeys(names, 1.0 / epoch)}

    def _last(self, trial: Trial) -> float:
        architecture = trial.candidate.architecture
        gain = sum({"se": 0.6, "cbam": 1.0}[spec.kind] * (0.5 + site.stage) for site, spec in architecture.placed)
        own = np.random.default_rng(int(architecture.digest[:12], 16)).normal(0.0, 0.01)
        return float(0.8 + 0.05 * np.log10(trial.candidate.gflops / 0.01) + 0.03 * np.tanh(gain / 10) + own)


@dataclass
class Measured:
    """Of every trial that ended, in that order: seconds of each part, and of processor time of all; numbers: its own. memory:
    resident MiB, by how many had ended.
    """

    seconds: list[tuple[float, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    memory: dict[int, float] = field(default_factory=dict)


class TimedConductor(Conductor):
    """A study's conductor that notes how long each part takes. spent: seconds of each part, and of processor time, by trial."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.spent: dict[int, list[float]] = {}
        self._telling = 0.0
        super().__init__(*arguments, **options)

    def next(self) -> Trial | None:
        begun, processor = time.perf_counter(), time.process_time()
        trial = super().next()
        if trial is not None:
            self.spent[trial.number] = [time.perf_counter() - begun, 0.0, 0.0, time.process_time() - processor]
        return trial

    def take(self, number: int, report: WorkerReport) -> bool:
        begun, processor, self._telling = time.perf_counter(), time.process_time(), 0.0
        stops = super().take(number, report)
        spent = self.spent[number]
        spent[1] += time.perf_counter() - begun - self._telling
        spent[2] += self._telling
        spent[3] += time.process_time() - processor
        return stops

    def finish(self, number: int, outcome: Outcome) -> None:
        begun = time.perf_counter()
        super().finish(number, outcome)
        self._telling += time.perf_counter() - begun


class Study:
    """The driver's rooms over one folder, as `cbam_search.study.assembly` puts them together."""

    def __init__(self, folder: StudyFolder, space: Space, cost: CostModel, config: SearchConfig) -> None:
        designs = published_designs(space, config.baselines, at_most_backbones=4, cost=cost.cost, bounds={}).trained
        self.records: StudyRecords = open_records(folder, None)
        settled = settle(self.records)
        proposer = Proposer(self.records, space, cost.cost, config, seed=0, bounds={}, published=designs)
        rungs = Rungs(config.scheduler, epochs=EPOCHS, bounds={}, measured_bounds={})
        stopping = rungs if config.scheduler.kind != "none" else None
        self.conductor = TimedConductor(self.records, proposer, "front", rungs=stopping)
        self.conductor.take_over(settled)
        self.trainer = FakeTrainer()

    def run(self, measured: Measured, trials: int) -> None:
        """Train on a fake clock until so many trials have ended: an epoch takes as long as its network is large."""
        by_evaluation: dict[str, Trial] = {}

        def steps(task: EvaluationTask) -> Steps:
            trial = by_evaluation[task.evaluation]
            for epoch in range(1, EPOCHS + 1):
                metrics = self.trainer.metrics(trial, epoch)
                trained = Epoch(epoch, metrics, trial.candidate.gflops)
                whole = Outcome(state=TrialState.COMPLETE, metrics=metrics, epochs=epoch, seconds=1.0)
                yield trial.candidate.gflops, WorkerReport(trained, outcome=whole if epoch == EPOCHS else None)

        def note(event: Event) -> None:
            if isinstance(event, TrialStarted):
                trial = self.records.trials[event.trial]
                by_evaluation[trial.evaluation] = trial
            elif isinstance(event, TrialFinished):
                measured.numbers.append(event.trial)
                if len(measured.numbers) in (*MARKS, trials):
                    measured.memory[len(measured.numbers)] = resident_mebibytes()

        self.records.subscribe(note)
        with SimulatedExecutor(steps, workers=WORKERS) as executor:
            run_trials(self.conductor, executor, lambda: len(measured.numbers) >= trials)
        measured.seconds = [tuple(self.conductor.spent[number]) for number in measured.numbers]


def resident_mebibytes() -> float:
    """What this process holds in memory; NaN where the system does not tell."""
    gc.collect()
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def space_and_cost(per: str) -> tuple[Space, CostModel]:
    attention = {
        "per": per,
        "pools": {"from": ["avg", "max", "lp", "lse"], "at_least": 1, "at_most": 2},
        "reduction_ratio": [4, 8, 16],
        "spatial_kernel_size": [3, 5, 7],
    }
    backbone = BackboneConfig(family="cifar_resnet", depth=14, width=(0.25, 0.5, 0.75, 1.0))
    return Space(backbone, AttentionConfig.model_validate(attention), in_channels=3, classes=10), CostModel(SIZE)


def new_folder(path: Path, space: Space, cost: CostModel, trials: int) -> StudyFolder:
    path.mkdir()
    folder = StudyFolder(path)
    data = DataSummary(
        fingerprint="0" * 64,
        train=45_000,
        validation=5_000,
        test=0,
        class_names=tuple("0123456789"),
        channels=3,
        image_size=SIZE,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        storage="memory",
        notes=(),
    )
    largest = space_costs(space, cost).range("gflops")[1]
    objectives = (
        ObjectiveAxis(name="accuracy", direction="max", reference=0.1, ideal=1.0),
        ObjectiveAxis(name="gflops", direction="min", reference=BEYOND_THE_WORST * largest, ideal=0.0),
    )
    folder.write_manifest(
        StudyManifest(
            name="fake",
            study_id="0" * 32,
            created_seconds=time.time(),
            yaml_folder=str(path),
            versions={},
            hardware="",
            data=data,
            objectives=objectives,
            trials=trials,
            epochs=EPOCHS,
            distinct_architectures=space.count(),
            parameters=len(space.parameters),
            published=(),
        )
    )
    return folder


def table(measured: Measured, trials: int) -> list[str]:
    """Of the trials around each mark: the median of every part and of their sum, and the mean of the sum."""
    rows = 1000 * np.array(measured.seconds)
    marks = [mark for mark in MARKS if mark <= len(rows)] or [len(rows)]
    if marks[-1] != len(rows) == trials:
        marks.append(len(rows))
    lines = [f"{'trial':>8}" + "".join(f"{name:>10}" for name in (*PARTS, "all", "mean", "processor")) + f"{'memory':>12}"]
    whole: dict[int, tuple[float, float, float]] = {}
    proposals: list[str] = []
    for mark in marks:
        # The window around the last trial lies before it.
        end = min(mark + AROUND, len(rows))
        window = rows[max(0, end - 2 * AROUND) : end]
        total = window[:, : len(PARTS)].sum(axis=1)
        whole[mark] = float(np.median(total)), float(total.mean()), float(window[:, -1].mean())
        figures = [*np.median(window[:, : len(PARTS)], axis=0), *whole[mark]]
        numbers = measured.numbers[max(0, end - 2 * AROUND) : end]
        proposals.append(f"{(max(numbers) - min(numbers) + 1) / len(numbers):.1f}")
        lines.append(f"{mark:>8,}" + "".join(f"{figure:>10.2f}" for figure in figures) + f"{measured.memory[mark]:>8.0f} MiB")
    first, last = whole[marks[0]], whole[marks[-1]]
    held = (measured.memory[marks[-1]] - measured.memory[marks[0]]) * 1024 / max(1, marks[-1] - marks[0])
    return [
        "driver's milliseconds a trial, of the 100 trials around each mark: median of each part and of all, mean of all, mean",
        "of the processor's time; and resident memory",
        *lines,
        f"proposals for one that was new, at these marks: {', '.join(proposals)}",
        f"trial {marks[-1]:,} to trial {marks[0]:,}: {last[0] / first[0]:.2f} times by the median, "
        f"{last[1] / first[1]:.2f} by the mean, {last[2] / first[2]:.2f} by the processor's time; "
        f"{held:.0f} KiB of memory a trial",
    ]


def main() -> None:
    options = argparse.ArgumentParser(description="What a trial costs the driver of a study of thousands, with a fake trainer.")
    options.add_argument("--trials", type=int, default=10_000)
    options.add_argument("--sampler", default="known_cost", choices=SAMPLERS.names())
    options.add_argument("--scheduler", default="pareto_asha", choices=["none", "pareto_asha"])
    options.add_argument("--per", default="block", choices=["stage", "block"], help="how far the choices of attention are tied")
    options.add_argument("--output", type=Path, help="file for what is printed, too")
    chosen = options.parse_args()
    space, cost = space_and_cost(chosen.per)
    config = SearchConfig.model_validate(
        {
            "trials": chosen.trials,
            "sampler": chosen.sampler,
            "scheduler": {"kind": chosen.scheduler},
        }
    )
    shown = {name: number for name, number in versions().items() if name in ("python", "optuna", "cbam-search")}
    lines = [
        f"command: python benchmarks/ten_thousand_trials.py {' '.join(sys.argv[1:])}",
        f"hardware: {hardware()}",
        f"versions: {json.dumps(shown)}",
        f"FAKE trainer: accuracies are made up, nothing was trained. {space.count():,} architectures, {len(space.parameters)} "
        f"parameters; sampler {chosen.sampler}, scheduler {chosen.scheduler}",
        "",
    ]
    with tempfile.TemporaryDirectory(prefix="cbam-search-trials-") as parent:
        folder = new_folder(Path(parent) / "fake", space, cost, chosen.trials)
        measured = Measured()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        begun = time.perf_counter()
        study = Study(folder, space, cost, config)
        study.run(measured, chosen.trials)
        seconds = time.perf_counter() - begun
        lines += table(measured, chosen.trials)
        lines.append(_ends(study, seconds))
        study.records.close()
        lines.append(_reopened(folder, space, cost, config))
    print("\n".join(lines))
    if chosen.output:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _ends(study: Study, seconds: float) -> str:
    trials = study.records.trials.values()
    complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
    stopped = sum(trial.state is TrialState.STOPPED for trial in trials)
    skipped = sum(not trial.was_trained for trial in trials)
    return (
        f"{complete:,} complete and {stopped:,} stopped trials, {skipped:,} proposals skipped, in {seconds:.0f} s; "
        f"a front of {len(study.records.front.members)}; ledger {study.records.folder.ledger.stat().st_size / 2**20:.0f} MiB, "
        f"database {study.records.folder.database.stat().st_size / 2**20:.0f} MiB"
    )


def _reopened(folder: StudyFolder, space: Space, cost: CostModel, config: SearchConfig) -> str:
    """What a resume costs before its first proposal, and that proposal: every room reads what it needs."""
    longer = config.model_copy(update={"trials": config.trials + 1})
    begun = time.perf_counter()
    study = Study(folder, space, cost, longer)
    opened = time.perf_counter()
    trial = study.conductor.next()
    asked = time.perf_counter()
    study.records.close()
    assert trial is not None
    return f"opened again in {opened - begun:.1f} s; the first proposal then took {asked - opened:.1f} s"


if __name__ == "__main__":
    main()
