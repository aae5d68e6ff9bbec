"""Ray Tune's view of early stopping: a TrialScheduler that asks the study, and starts trials in their order."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from cbam_search.running.searcher import StudySearcher


class StudyScheduler(FIFOScheduler):
    """Tune asks it about each epoch before it tells the searcher; the searcher records the epoch, and asks the rungs.

    Stopping is a decision of the driver: the worker trains no further epoch, raises nothing, and takes the next candidate.
    """

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:  # noqa: ARG002
        stops = self._searcher.stops(trial.trial_id, result)
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE

    def debug_string(self) -> str:
        return "Stopping as the study says."

    def __deepcopy__(self, memo: dict[int, Any]) -> StudyScheduler:
        return self

    def __reduce__(self) -> tuple[type[FIFOScheduler], tuple[()]]:
        return FIFOScheduler, ()
