"""What a study takes from the evaluation cache and gives to it.

A replayed trial leaves in its folder what its worker would have left (epochs, result, weights) and then ends as any other:
whatever a crash cuts off, the next driver finds a finished training.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import torch

from cbam_search.architecture import AnyBackbone, Architecture
from cbam_search.data.images import ImageData
from cbam_search.records.evaluation_cache import KEPT_STATES, Epoch, Evaluation, EvaluationCache, EvaluationKey
from cbam_search.records.folder import StudyFolder
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.results import read_epochs, write_epochs, write_result
from cbam_search.records.trials import Outcome, ReplayedFrom, Trial, TrialState
from cbam_search.records.weights import discard
from cbam_search.running.latency import LATENCY_METRICS, LatencyMeter
from cbam_search.training.config import TrainingConfig

ROOMS_THAT_TRAIN = ("architecture", "attention", "backbones", "data", "training")
CPU = "cpu"


class StudyKeys:
    """The keys of a study's trainings, which differ by architecture alone."""

    def __init__(
        self, recipe: TrainingConfig, seed: int, data: ImageData, *, weights: Mapping[AnyBackbone, str], device: str = CPU
    ) -> None:
        """weights: SHA-256 of the file that trainings start from, by canonical backbone. device: `cpu`, or the GPU's model."""
        self._weights = weights
        versions = {name: version(name) for name in ("cbam-search", "torch")}
        if device != CPU:
            versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
        self._shared = EvaluationKey(
            architecture="",
            recipe=recipe.model_dump(mode="json"),
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
            code=_code_that_trains(),
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
        weights_needed: bool,
        meter: LatencyMeter | None = None,
    ) -> None:
        """weights_needed: whether front members keep theirs; a training whose weights are gone is then not replayed.

        meter: where the study measures latencies.
        """
        self.cache = cache
        self._keys = keys
        self._folder = folder
        self._manifest = manifest
        self._weights_needed = weights_needed
        self._meter = meter

    def lay_down(self, trial: Trial) -> Outcome | None:
        """Where the trial's training is known, leave all of it in the trial's folder and say how it ended; else None.

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
        discard(self._folder, trial.number)
        needed = self._weights_needed and found.outcome.state is TrialState.COMPLETE
        if needed and not self.cache.lend_weights(found, self._folder.weights(trial.number)):
            return None
        if self._meter:
            self._meter.note(trial.number, latency)
        rows = [{"epoch": row.epoch, **row.metrics, **latency, "seconds": row.seconds} for row in found.epochs]
        write_epochs(self._folder.epochs(trial.number), rows)
        outcome = found.outcome.model_copy(
            update={
                "metrics": found.outcome.metrics | latency,
                "replayed_from": ReplayedFrom(study=found.study, study_id=found.study_id, trial=found.trial),
            }
        )
        write_result(self._folder.result(trial.number), outcome)
        return outcome

    def keep(self, trial: Trial, outcome: Outcome) -> None:
        """Give a training of this study's own to the others, if it is one that would end so again."""
        if outcome.replayed_from is not None or outcome.state not in KEPT_STATES:
            return
        # A training that went on from an older checkpoint left some epochs twice.
        rows = {int(row["epoch"]): row for row in read_epochs(self._folder.epochs(trial.number))}
        if sorted(rows) != list(range(1, len(rows) + 1)) or len(rows) < outcome.epochs:
            return
        apart = ("epoch", "seconds", *LATENCY_METRICS)
        evaluation = Evaluation(
            of=self._keys.of(trial.candidate.architecture),
            study=self._manifest.name,
            study_id=self._manifest.study_id,
            trial=trial.number,
            outcome=outcome.model_copy(
                update={"metrics": {name: at for name, at in outcome.metrics.items() if name not in apart}, "values": None}
            ),
            epochs=tuple(
                Epoch(
                    epoch=number,
                    metrics={name: value for name, value in rows[number].items() if name not in apart},
                    seconds=rows[number]["seconds"],
                )
                for number in sorted(rows)
            ),
            weights=None,
            hardware=self._manifest.hardware,
            versions=self._manifest.versions,
        )
        self.cache.keep(evaluation, self._folder.weights(trial.number))


@lru_cache(maxsize=1)
def _code_that_trains() -> str:
    """SHA-256 of the source of every room that a result depends on: a change of the code is another training."""
    package = Path(__file__).parents[1]
    digest = sha256()
    for file in sorted(path for room in ROOMS_THAT_TRAIN for path in (package / room).rglob("*.py")):
        text = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()
