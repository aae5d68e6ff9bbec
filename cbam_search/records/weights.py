"""Which weights stay on disk: running trials keep theirs, and of the finished ones those that `keep` says."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Literal

from cbam_search.records.folder import StudyFolder
from cbam_search.records.trials import Trial, TrialState


def collect_weights(
    folder: StudyFolder, trials: Iterable[Trial], front: Iterable[int], keep: Literal["front", "all", "none"]
) -> None:
    """Remove what finished trials no longer need: checkpoints and lists of epochs always, final weights as `keep` says."""
    kept = set(front) if keep == "front" else set()
    for trial in trials:
        if trial.state is TrialState.RUNNING:
            continue
        folder.checkpoint(trial.number).unlink(missing_ok=True)
        folder.epochs(trial.number).unlink(missing_ok=True)
        if keep != "all" and trial.number not in kept:
            folder.weights(trial.number).unlink(missing_ok=True)


def discard(folder: StudyFolder, number: int) -> None:
    """Remove what lies in the folder of a trial that is about to begin.

    A crash of the machine can take the last trials out of the database; their numbers come again, for other architectures,
    and a worker would take the old result for its own.
    """
    shutil.rmtree(folder.trial(number), ignore_errors=True)
