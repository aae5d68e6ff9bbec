"""Which weights stay on disk.

While a study goes on, every complete trial keeps its weights, since a later front, or seeds that are added, may recommend
another member. When it closes, the front and the bare, SE and CBAM networks on its backbones keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

from cbam_search.architecture import published
from cbam_search.records.front import front_of
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import Trial, TrialState

Keep = Literal["front", "all", "none"]
PLAIN_KINDS = (None, "se", "cbam")
"""What a network with attention is compared with: bare, or one kind everywhere."""
ROOM_MADE = 0.9
"""Share of the bound that is left once weights were removed, so that not every further trial removes some."""
FAR_RANK = 2
"""From this non-domination rank on a trial is far from the front."""


class WeightsKeeper:
    """Removes what is not kept any more, of one study. Checkpoints and lists of epochs of trials that ended go always."""

    def __init__(self, records: StudyRecords, keep: Keep, *, at_most_bytes: float = float("inf")) -> None:
        """at_most_bytes: of all weights together while the study goes on; it binds `front` alone."""
        self._records = records
        self._keep = keep
        self._at_most_bytes = at_most_bytes if keep == "front" else float("inf")
        self._sizes: dict[int, int] = {}
        self._total = 0

    def collect(self) -> None:
        """Look at all trials, once when the study is opened: a driver that died may have left files."""
        for trial in self._records.trials.values():
            self._remove_leftovers(trial)
        self._remove_beyond_bound()

    def ended(self, trial: Trial) -> None:
        """Remove what need not be kept of this trial; nothing while it is still running."""
        self._remove_leftovers(trial)
        self._remove_beyond_bound()

    def _remove_leftovers(self, trial: Trial) -> None:
        """Of a training that ended: its checkpoint, its epochs, what arrived of files, and its weights unless they are kept."""
        if trial.state is TrialState.RUNNING or not trial.was_trained:
            return
        folder = self._records.folder
        folder.checkpoint(trial.evaluation).unlink(missing_ok=True)
        folder.epochs(trial.evaluation).unlink(missing_ok=True)
        for part in folder.parts(trial.evaluation):
            part.unlink(missing_ok=True)
        weights = folder.weights(trial.evaluation)
        if self._keep == "none" or trial.state is not TrialState.COMPLETE:
            weights.unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError):
            size = weights.stat().st_size
            self._total += size - self._sizes.get(trial.number, 0)
            self._sizes[trial.number] = size

    def closed(self) -> None:
        """The study has ended by itself: with `front`, only what its front is judged by keeps its weights."""
        if self._keep != "front":
            return
        members = self._records.front.members
        kept = {trial.number for trial in members} | _plain_designs(self._records.trials.values(), members)
        self._remove(number for number in self._sizes if number not in kept)

    def _remove_beyond_bound(self) -> None:
        """The oldest that are far from the front go first, then the oldest behind the front; front and plain designs stay."""
        if self._total <= self._at_most_bytes:
            return
        trials = self._records.trials
        ranks = front_of(trials.values(), self._records.manifest.objectives).ranks
        members = [trials[number] for number, rank in ranks.items() if rank == 0]
        stay = {trial.number for trial in members} | _plain_designs(trials.values(), trials.values())
        order = sorted(
            (number for number in self._sizes if number not in stay), key=lambda number: (ranks[number] < FAR_RANK, number)
        )
        total, chosen = self._total, []
        for number in order:
            if total <= ROOM_MADE * self._at_most_bytes:
                break
            total -= self._sizes[number]
            chosen.append(number)
        if chosen:
            self._remove(chosen)
            self._records.weights_removed(chosen)

    def _remove(self, numbers: Iterable[int]) -> None:
        for number in list(numbers):
            self._records.folder.weights(self._records.trials[number].evaluation).unlink(missing_ok=True)
            self._total -= self._sizes.pop(number)


def _plain_designs(trials: Iterable[Trial], on_backbones_of: Iterable[Trial]) -> set[int]:
    """Numbers of the trials that are bare, or have SE or CBAM everywhere as published, on these backbones."""
    backbones = {trial.candidate.architecture.backbone.canonical() for trial in on_backbones_of}
    digests = {published(backbone, kind).digest for backbone in backbones for kind in PLAIN_KINDS}
    return {trial.number for trial in trials if trial.candidate.digest in digests}
