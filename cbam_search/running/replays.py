"""What a study takes from the evaluation cache and gives to it.

A replayed trial has in its folder what its worker would have handed over (epochs, result, weights) and then ends as any other:
whatever a crash cuts off, the next driver finds a finished training.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from cbam_search.architecture import AnyBackbone, Architecture
from cbam_search.attention.registry import outside_source
from cbam_search.data.images import ImageData
from cbam_search.identity import identity
from cbam_search.metrics import names_of
from cbam_search.records.evaluation import Evaluation, EvaluationKey, TrainedBy
from cbam_search.records.evaluation_cache import KEPT_STATES, Artifact, EvaluationCache
from cbam_search.records.folder import StudyFolder
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.results import read_epochs, write_epochs, write_measured, write_result
from cbam_search.records.trials import Outcome, ReplayedFrom, Trial, TrialState
from cbam_search.running.latency_meter import LatencyMeter
from cbam_search.training.config import TrainingConfig

CPU = "cpu"


class StudyKeys:
    """The keys of a study's trainings, which differ by architecture alone."""

    def __init__(
        self, recipe: TrainingConfig, seed: int, data: ImageData, *, weights: Mapping[AnyBackbone, str], device: str = CPU
    ) -> None:
        """weights: SHA-256 of the file that trainings start from, by canonical backbone. device: `cpu`, or the GPU's model."""
        self._weights = weights
        versions = {"torch": version("torch")}
        if device != CPU:
            versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
        self._shared = EvaluationKey(
            architecture="",
            recipe=identity(recipe),
            seed=seed,
            data={
                "fingerprint": data.fingerprint,
                "train": len(data.train),
                "validation": len(data.validation),
                "channels": data.channels,
                "image_size": list(data.image_size),
                "mean": list(data.mean),
                "std": list(data.std),
            },
            weights=None,
            device=device,
            precision="float32" if device == CPU or recipe.mixed_precision == "off" else "mixed",
            versions=versions,
            source=outside_source(),
        )

    def of(self, architecture: Architecture) -> EvaluationKey:
        weights = self._weights.get(architecture.backbone.canonical())
        return self._shared.model_copy(update={"architecture": architecture.digest, "weights": weights})


class Replays:
    """One study's way to the cache and from it."""

    def __init__(
        self,
        cache: EvaluationCache,
        keys: StudyKeys,
        folder: StudyFolder,
        manifest: StudyManifest,
        *,
        needed: Collection[Artifact] = (),
        meter: LatencyMeter | None = None,
    ) -> None:
        """needed: what complete trials keep; a training that lacks any of it is not replayed.

        meter: where the study measures latencies.
        """
        self.cache = cache
        self._keys = keys
        self._folder = folder
        self._manifest = manifest
        self._needed = needed
        self._meter = meter

    def replay(self, trial: Trial) -> Outcome | None:
        """Where the trial's training is known, put all of it into the trial's folder and say how it ended; else None.

        A latency is of this study's own device: where it was not measured in this very setting before, or is beyond the
        constraint, the trial goes to a worker as any other.
        """
        architecture = trial.candidate.architecture
        found = self.cache.find(self._keys.of(architecture))
        if found is None:
            return None
        latency = self._meter.known(architecture) if self._meter else {}
        if latency is None or (self._meter and self._meter.beyond(latency)):
            return None
        files = self._files(trial)
        needed = self._needed if found.state is TrialState.COMPLETE else ()
        if not all(self.cache.lend(artifact, found, files[artifact]) for artifact in needed):
            return None
        if self._meter:
            write_measured(self._folder.measured(trial.evaluation), latency)
        write_epochs(self._folder.epochs(trial.evaluation), found.epochs)
        outcome = _replayed(found)
        outcome = outcome.model_copy(update={"metrics": outcome.metrics | latency})
        write_result(self._folder.result(trial.evaluation), outcome)
        return outcome

    def keep(self, trial: Trial, outcome: Outcome) -> None:
        """Give a training of this study's own to the others, if it is one that would end so again."""
        if outcome.replayed_from is not None or outcome.state not in KEPT_STATES:
            return
        # A training that went on from an older checkpoint left some epochs twice.
        epochs = {epoch.epoch: epoch for epoch in read_epochs(self._folder.epochs(trial.evaluation))}
        if sorted(epochs) != list(range(1, len(epochs) + 1)) or len(epochs) < outcome.epochs:
            return
        measured = names_of("measured")
        trained = {name: entry for name, entry in outcome.metrics.items() if name not in measured}
        evaluation = Evaluation(
            architecture=trial.candidate.architecture,
            seed=self._manifest.seed,
            key=self._keys.of(trial.candidate.architecture),
            trial=trial.number,
            epochs=tuple(epochs[number] for number in sorted(epochs)),
            outcome=outcome.model_copy(update={"metrics": trained, "values": None}),
            trained_by=TrainedBy(
                study=self._manifest.name,
                study_id=self._manifest.study_id,
                hardware=self._manifest.hardware,
                versions=self._manifest.versions,
            ),
        )
        self.cache.keep(evaluation, self._files(trial))

    def _files(self, trial: Trial) -> dict[Artifact, Path]:
        name = trial.evaluation
        return {"weights": self._folder.weights(name), "predictions": self._folder.predictions(name)}


def _replayed(found: Evaluation) -> Outcome:
    """How another study's training ended, with its origin."""
    assert found.outcome is not None
    assert found.trained_by is not None
    assert found.trial is not None
    source = ReplayedFrom(study=found.trained_by.study, study_id=found.trained_by.study_id, trial=found.trial)
    return found.outcome.model_copy(update={"replayed_from": source})
