"""Studies without Ray: small spaces, open records, and trainings that are simulated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from manifests import made_up_manifest

from cbam_search.architecture import Architecture
from cbam_search.cost.cost import CostFunction
from cbam_search.cost.model import CostModel
from cbam_search.metrics import Measured, names_of
from cbam_search.records.events import EpochFinished, Event, TrialFinished
from cbam_search.records.folder import StudyFolder
from cbam_search.records.manifest import ObjectiveAxis, StudyManifest
from cbam_search.records.settling import settle
from cbam_search.records.studies import create_study_folder
from cbam_search.records.study_records import StudyRecords, open_records
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.running.conductor import Conductor
from cbam_search.running.executors.simulated import SimulatedExecutor, Simulation, Steps
from cbam_search.running.replays import Replays
from cbam_search.running.run import run_trials
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.search.config import SearchConfig
from cbam_search.search.proposer import Proposer
from cbam_search.search.rungs import Rungs
from cbam_search.space.attention_config import AttentionConfig
from cbam_search.space.backbone_config import BackboneConfig
from cbam_search.space.space import Space
from cbam_search.training.epoch import Epoch

OBJECTIVES = (
    ObjectiveAxis(name="accuracy", direction="max", reference=0.1, ideal=1.0),
    ObjectiveAxis(name="gflops", direction="min", reference=0.002, ideal=0.0),
)
Trainer = Callable[[Trial], Outcome]
Curve = Callable[[Trial, int], dict[str, float]]
"""A trial's metrics after an epoch."""
Meter = Callable[[Trial], dict[str, Measured]]
"""What is measured of a trial before its training."""


def space_of(**attention: object) -> Space:
    backbone = BackboneConfig(family="cifar_resnet", depth=[8, 14], width=[0.25, 0.5])
    return Space(backbone, AttentionConfig.model_validate({"per": "stage", **attention}), in_channels=1, classes=10)


def make_study(parent: Path, name: str, created_seconds: float) -> StudyFolder:
    """A study in the folder of studies `parent`, of which nothing is there but its manifest."""
    folder = create_study_folder(parent, name)
    folder.write_manifest(manifest_of().model_copy(update={"created_seconds": created_seconds}))
    return folder


def manifest_of(objectives: tuple[ObjectiveAxis, ...] = OBJECTIVES, *, trials: int = 20, epochs: int = 2) -> StudyManifest:
    return made_up_manifest(train=100, validation=50, test=0, objectives=objectives, trials=trials, epochs=epochs)


def new_folder(parent: Path, manifest: StudyManifest | None = None) -> StudyFolder:
    path = parent / "study"
    path.mkdir(parents=True)
    folder = StudyFolder(path)
    folder.write_manifest(manifest or manifest_of())
    return folder


class StudyBench:
    """A study's records in `folder` with proposer and conductor; call `restart()` to do what a new driver process would."""

    def __init__(
        self,
        folder: StudyFolder,
        space: Space,
        config: SearchConfig,
        *,
        cost: CostFunction | None = None,
        bounds: dict[str, float] | None = None,
        published: tuple[Architecture, ...] = (),
        measured_bounds: dict[str, float] | None = None,
        warm_start: tuple[Architecture, ...] = (),
        replays: Replays | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.space = space
        self.config = config
        self.cost = cost or CostModel((8, 8)).cost
        self.bounds = bounds or {}
        self.published = published
        self.measured_bounds = measured_bounds or {}
        self.warm_start = warm_start
        self.replays = replays
        self.seed = seed
        self.clock = clock
        self.records: StudyRecords
        self.conductor: Conductor
        self._open()

    def _open(self) -> None:
        self.records = open_records(self.folder, None)
        settled = settle(self.records)
        proposer = Proposer(
            self.records,
            self.space,
            self.cost,
            self.config,
            seed=self.seed,
            bounds=self.bounds,
            published=self.published,
            measured_bounds=self.measured_bounds,
            warm_start=self.warm_start,
            clock=self.clock,
        )
        rungs = Rungs(
            self.config.scheduler,
            epochs=self.records.manifest.epochs,
            bounds=self.bounds,
            measured_bounds=self.measured_bounds,
        )
        stopping = rungs if self.config.scheduler.kind != "none" else None
        self.conductor = Conductor(self.records, proposer, "front", rungs=stopping, replays=self.replays)
        self.conductor.take_over(settled)

    def restart(self) -> None:
        self.records.close()
        self._open()

    def run(self, trainer: Trainer, *, workers: int = 2, at_most: int | None = None) -> list[Trial]:
        """Train whole trials, which end in a shuffled order, and as the trainer says: none is stopped at a rung. Returns those
        that ended, at most so many: the others are left as a crash would leave them.
        """
        order = random.Random(0)

        def steps(task: EvaluationTask) -> Steps:
            outcome = trainer(self._trial(task))
            measured = {name: entry for name, entry in outcome.metrics.items() if name in names_of("measured")}
            values = {name: entry.value for name, entry in outcome.metrics.items()}
            took = order.random()
            for epoch in range(1, outcome.epochs + 1):
                yield took, WorkerReport(Epoch(epoch, values, 0.1), measured)
                took = 0.0
            yield took, WorkerReport(measured=measured, outcome=outcome)

        judge, self.conductor.reason_to_stop = self.conductor.reason_to_stop, lambda _number: None  # type: ignore[method-assign]
        try:
            return self._run(steps, workers, lambda ended, _: at_most is not None and ended >= at_most)
        finally:
            self.conductor.reason_to_stop = judge  # type: ignore[method-assign]

    def run_epochs(
        self, curve: Curve, *, workers: int = 4, at_most_epochs: int | None = None, meter: Meter = lambda _: {}
    ) -> list[Trial]:
        """Train epoch by epoch; an epoch takes as long as its network is large. Returns the trials that ended; after
        `at_most_epochs` those under way are left as a crash would leave them.
        """
        last = self.records.manifest.epochs

        def steps(task: EvaluationTask) -> Steps:
            trial = self._trial(task)
            seconds, measured = trial.candidate.gflops, meter(trial)
            for epoch in range(self.conductor.epochs_recorded(trial.number) + 1, last + 1):
                metrics = curve(trial, epoch)
                report = WorkerReport(Epoch(epoch, metrics, seconds), measured)
                if epoch == last:
                    whole = {name: Measured(value=value) for name, value in metrics.items()} | measured
                    ended = Outcome(state=TrialState.COMPLETE, metrics=whole, epochs=epoch, seconds=last * seconds)
                    report = replace(report, outcome=ended)
                yield seconds, report

        return self._run(steps, workers, lambda _, epochs: at_most_epochs is not None and epochs >= at_most_epochs)

    def _run(self, steps: Simulation, workers: int, enough: Callable[[int, int], bool]) -> list[Trial]:
        """enough: whether so many trials that ended, and so many epochs, will do."""
        ended: list[int] = []
        epochs: list[int] = []

        def listen(event: Event) -> None:
            if isinstance(event, TrialFinished):
                ended.append(event.trial)
            elif isinstance(event, EpochFinished):
                epochs.append(event.trial)

        self.records.subscribe(listen)
        with SimulatedExecutor(steps, workers=workers) as executor:
            run_trials(self.conductor, executor, lambda: enough(len(ended), len(epochs)))
        trials = (self.records.trials[number] for number in ended)
        return [trial for trial in trials if trial.replayed_from is None]

    def _trial(self, task: EvaluationTask) -> Trial:
        return next(
            trial for trial in self.records.trials.values() if trial.was_trained and trial.evaluation == task.evaluation
        )


def landscape(trial: Trial) -> Outcome:
    """A fake training: accuracy grows with gflops, and with attention in the last stage."""
    last = [spec.kind for site, spec in trial.candidate.architecture.placed if site.stage == 2]
    bonus = {"se": 0.02, "cbam": 0.04}.get(last[-1], 0.0) if last else 0.0
    accuracy = 0.6 + 100 * trial.candidate.gflops + bonus
    return Outcome(state=TrialState.COMPLETE, metrics={"accuracy": min(accuracy, 0.99)}, epochs=2, seconds=0.2)


def learning(trial: Trial, epoch: int) -> dict[str, float]:
    """The same landscape epoch by epoch: from chance, 0.1, towards the last value, nine tenths of the way within 9 epochs."""
    return {"accuracy": 0.1 + (landscape(trial).metrics["accuracy"].value - 0.1) * (1.0 - 0.1 ** (epoch / 9))}
