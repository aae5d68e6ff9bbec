"""Studies that never trained anything: real folders, manifests and ledgers with made-up values and fixed times."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from architectures import with_attention
from manifests import made_up_manifest

from cbam_search.architecture import Architecture, Backbone, CbamSpec, SeSpec
from cbam_search.architecture.architecture import published
from cbam_search.records.events import (
    EpochFinished,
    Event,
    FrontUpdated,
    StudyClosed,
    StudyOpened,
    TrialFinished,
    TrialSkipped,
    TrialStarted,
    TrialWaits,
)
from cbam_search.records.folder import StudyFolder
from cbam_search.records.front import front_of
from cbam_search.records.ledger import Ledger
from cbam_search.records.manifest import ObjectiveAxis, StudyManifest
from cbam_search.records.trials import Candidate, Origin, Outcome, Trial, TrialState, evaluation_id
from cbam_search.records.view import StudyView

ACCURACY = ObjectiveAxis(name="accuracy", direction="max", reference=0.1, ideal=1.0)
GFLOPS = ObjectiveAxis(name="gflops", direction="min", reference=0.012, ideal=0.0)
PARAMS = ObjectiveAxis(name="params", direction="min", reference=2e5, ideal=0.0)
VALIDATION_IMAGES = 180
STARTED_SECONDS = 1_700_000_000.0
PALETTE = (None, SeSpec(reduction_ratio=8), CbamSpec(reduction_ratio=4, pools=("avg", "lse"), spatial_kernel_size=3))


def backbone(depth: int = 8, width: float = 0.5) -> Backbone:
    return Backbone(family="cifar_resnet", depth=depth, width=width, stem="cifar", in_channels=1, classes=10)


def candidate(architecture: Architecture | None = None, gflops: float = 0.001, origin: Origin = Origin.SAMPLER) -> Candidate:
    architecture = architecture or published(backbone(), None)
    return Candidate(architecture=architecture, gflops=gflops, params=int(gflops * 1.5e7), origin=origin)


def complete(number: int, accuracy: float, gflops: float, **of_candidate: object) -> Trial:
    """A complete trial with these values."""
    proposed = candidate(gflops=gflops, **of_candidate)  # type: ignore[arg-type]
    values = {"accuracy": accuracy, "gflops": gflops, "params": float(proposed.params)}
    outcome = Outcome(state=TrialState.COMPLETE, metrics={"accuracy": accuracy}, values=values, epochs=8)
    return Trial(number, proposed, outcome.with_errors(VALIDATION_IMAGES), evaluations=(evaluation_id(proposed.digest, 0),))


def ended(number: int, state: TrialState, **of_outcome: object) -> Trial:
    return Trial(number, candidate(), Outcome(state=state, **of_outcome))  # type: ignore[arg-type]


def manifest(name: str = "digits", objectives: tuple[ObjectiveAxis, ...] = (ACCURACY, GFLOPS)) -> StudyManifest:
    return made_up_manifest(
        train=1437,
        validation=VALIDATION_IMAGES,
        test=180,
        name=name,
        study_id=f"{name}-0123456789ab",
        created_seconds=STARTED_SECONDS,
        versions={"cbam-search": "0.1.0", "torch": "2.13.0"},
        hardware="2 CPU cores",
        objectives=objectives,
        trials=24,
        epochs=8,
        distinct_architectures=1234,
        parameters=7,
        published=("cifar_resnet8_0.5", "cifar_resnet8_0.5+se"),
    )


def view_of(trials: Iterable[Trial], described: StudyManifest) -> StudyView:
    """What a ledger that tells of these trials comes to."""
    trials = list(trials)
    view, front = StudyView(trials), front_of(trials, described.objectives)
    view.front, view.hypervolume = front.numbers, front.hypervolume
    return view


def random_candidates(count: int, seed: int = 0) -> list[Candidate]:
    """The published designs on four backbones, then random placements; cost grows with depth and width."""
    chance = random.Random(seed)
    backbones = [backbone(depth, width) for depth, width in itertools.product((8, 14), (0.5, 1.0))]
    proposals = [(published(base, kind), Origin.PUBLISHED) for base in backbones for kind in (None, "se", "cbam")]
    while len(proposals) < count:
        base = chance.choice(backbones)
        attention = [chance.choice(PALETTE) for _ in base.geometry().blocks]
        proposals.append((with_attention(base, attention), Origin.SAMPLER))
    return [candidate(proposed, _gflops(proposed), origin) for proposed, origin in proposals[:count]]


def _gflops(architecture: Architecture) -> float:
    base = architecture.backbone
    placed = len(architecture.attention)
    return 0.0008 * (base.depth / 8) * (2 * base.width) ** 2 * (1 + 0.004 * placed)


@dataclass
class SyntheticStudy:
    """A study whose events are written one by one, each half a second after the last."""

    folder: StudyFolder
    trials: dict[int, Trial] = field(default_factory=dict)
    now_seconds: float = STARTED_SECONDS

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder.ledger)
        self.manifest = self.folder.read_manifest()
        self._front: tuple[int, ...] = ()

    def open(self, *, resumed: bool = False) -> None:
        self._append(StudyOpened(resumed=resumed))

    def start(
        self,
        number: int,
        proposed: Candidate,
        attempt: int = 1,
        died: str | None = None,
        **parameters: str | int | float,
    ) -> None:
        self.trials[number] = Trial(number, proposed, attempts=attempt)
        self._append(
            TrialStarted(
                trial=number,
                attempt=attempt,
                candidate=proposed,
                label=proposed.label,
                digest=proposed.digest,
                parameters=parameters,
                died=died,
            )
        )

    def wait(self, number: int, why: str | None) -> None:
        self._append(TrialWaits(trial=number, why=why))

    def skip(self, number: int, proposed: Candidate, state: TrialState) -> None:
        outcome = Outcome(state=state, reason="as told")
        self.trials[number] = Trial(number, proposed, outcome, attempts=0)
        self._append(
            TrialSkipped(trial=number, candidate=proposed, label=proposed.label, digest=proposed.digest, outcome=outcome)
        )

    def epoch(self, number: int, epoch: int, accuracy: float) -> None:
        attempt = self.trials[number].attempts
        metrics = {"train_loss": 1 / epoch, "validation_loss": 1.2 / epoch, "accuracy": accuracy, "learning_rate": 0.1}
        self._append(EpochFinished(trial=number, attempt=attempt, epoch=epoch, metrics=metrics, seconds=0.4))

    def finish(self, number: int, state: TrialState = TrialState.COMPLETE, accuracy: float = 0.9, epochs: int = 8) -> None:
        known = self.trials[number]
        values = {"accuracy": accuracy, "gflops": known.candidate.gflops, "params": float(known.candidate.params)}
        outcome = Outcome(
            state=state,
            metrics={"accuracy": accuracy},
            values=values if state is TrialState.COMPLETE else None,
            epochs=epochs,
            seconds=3.0,
            reason=None if state is TrialState.COMPLETE else f"{state} on purpose",
        )
        self.trials[number] = Trial(number, known.candidate, outcome, known.attempts)
        self._append(TrialFinished(trial=number, outcome=outcome))
        front = front_of(self.trials.values(), self.manifest.objectives)
        changed, self._front = front.numbers != self._front, front.numbers
        self._append(
            FrontUpdated(
                front=front.numbers,
                hypervolume=front.hypervolume,
                changed=changed,
                complete=len(front.ranks),
            )
        )

    def train(self, number: int, proposed: Candidate, accuracy: float, epochs: int = 8) -> None:
        """A whole training, from its start to its end."""
        self.start(number, proposed, **{"backbone.depth": proposed.architecture.backbone.depth, "attention.kind": "se"})
        for epoch in range(1, epochs + 1):
            self.epoch(number, epoch, accuracy * (1 - 0.5 / epoch) if epoch < epochs else accuracy)
        self.finish(number, accuracy=accuracy, epochs=epochs)

    def close(self, reason: str = "trials") -> None:
        self._append(StudyClosed(reason=reason, message=f"closed: {reason}"))  # type: ignore[arg-type]
        self.ledger.close()

    def search(self, count: int = 24, epochs: int = 8, seed: int = 0) -> None:
        """Train `count` candidates, the larger ones a little better."""
        chance = random.Random(seed)
        for number, proposed in enumerate(random_candidates(count, seed)):
            accuracy = min(0.995, 0.94 + 0.035 * (proposed.gflops / 0.006) ** 0.4 + chance.gauss(0, 0.006))
            self.train(number, proposed, accuracy, epochs)

    def _append(self, event: Event) -> None:
        self.now_seconds += 0.5
        self.ledger.append(event.model_copy(update={"time_seconds": self.now_seconds}))


def synthetic_study(parent: Path, name: str = "digits") -> SyntheticStudy:
    """A new study in `parent`, with its YAML and manifest, and no event yet."""
    folder = StudyFolder(parent / name)
    folder.path.mkdir(parents=True)
    folder.given_yaml.write_text(f"name: {name}  # as given\n")
    folder.resolved_yaml.write_text(f"name: {name}\ntraining:\n  epochs: 8\nattention:\n  kind: [none, se]\n")
    folder.write_manifest(manifest(name))
    return SyntheticStudy(folder)
