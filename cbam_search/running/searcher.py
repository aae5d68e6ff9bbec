"""Ray Tune's view of a study: a Searcher that asks the conductor and reports to it."""

from __future__ import annotations

from typing import Any, cast

from ray.tune.search import Searcher

from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.conductor import Conductor
from cbam_search.running.trainable import metrics_of


class StudySearcher(Searcher):
    """Maps Ray's trial ids to the study's trial numbers. Everything durable is elsewhere: Ray may pickle this freely."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor
        self._numbers: dict[str, int] = {}
        self.interrupted = False

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if self.interrupted:
            return None
        trial = self._conductor.next()
        if trial is None:
            return cast("dict[str, Any]", Searcher.FINISHED)
        self._numbers[trial_id] = trial.number
        return {"trial": trial.number, "architecture": trial.candidate.architecture.model_dump_json()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "epoch" in result:
            metrics = metrics_of(result)
            self._conductor.epoch(self._numbers[trial_id], int(result["epoch"]), metrics, float(result["seconds"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Ended, stopped by a scheduler (no outcome reported), or dead for good. After Ctrl-C the trial stays unfinished."""
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        if result and "epoch" in result:
            self._numbers[trial_id] = number
            self.on_trial_result(trial_id, result)
            del self._numbers[trial_id]
        if result and "outcome" in result:
            self._conductor.finish(number, Outcome.model_validate_json(result["outcome"]))
        elif self.interrupted:
            return
        elif error or not result or "epoch" not in result:
            self._conductor.finish(number, Outcome(state=TrialState.FAILED, reason="its worker died, again and again"))
        else:
            self._conductor.finish(
                number,
                Outcome(
                    state=TrialState.STOPPED,
                    metrics=metrics_of(result),
                    epochs=int(result["epoch"]),
                    reason=f"stopped after epoch {result['epoch']}",
                ),
            )

    def on_worker_lost(self, trial_id: str) -> None:
        """The trial's worker died; Ray starts it again elsewhere."""
        if trial_id in self._numbers:
            self._conductor.lost(self._numbers[trial_id])

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the records are the truth, and no pickle of the driver is written."""

    def __deepcopy__(self, memo: dict[int, Any]) -> StudySearcher:
        return self

    def __reduce__(self) -> tuple[type[Searcher], tuple[()]]:
        return Searcher, ()
