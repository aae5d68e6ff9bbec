"""Ray Tune's view of a study: a Searcher that asks the conductor and reports to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from pydantic import TypeAdapter
from ray.tune.search import Searcher

from cbam_search.metrics import Measured
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.conductor import Conductor
from cbam_search.training.epoch import EPOCH

_MEASURED: TypeAdapter[dict[str, Measured]] = TypeAdapter(dict[str, Measured])


class StudySearcher(Searcher):
    """Maps Ray's trial ids to the study's trial numbers. Everything durable is elsewhere: Ray may pickle this freely."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor
        self._numbers: dict[str, int] = {}
        self._stopping: dict[str, str] = {}
        """Why, of trials that Ray was told to stop and has not reported as ended yet."""
        self.interrupted = False
        self.error: Exception | None = None
        """What went wrong in the study itself: nothing more is suggested, and whoever runs Tune raises it."""

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Tune takes an error raised here for one of the trial's, and would train it again."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error
            self.interrupted = True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if self.interrupted:
            return None
        with self._own_errors():
            return self._next(trial_id)
        return None

    def _next(self, trial_id: str) -> dict[str, Any] | None:
        trial = self._conductor.next()
        if trial is None:
            for_good = self._conductor.exhausted or self._conductor.stopped_by
            return cast("dict[str, Any]", Searcher.FINISHED) if for_good else None
        self._numbers[trial_id] = trial.number
        architecture = trial.candidate.architecture.model_dump_json()
        return {"trial": trial.number, "evaluation": trial.evaluation, "architecture": architecture}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        with self._own_errors():
            self._epoch(self._numbers[trial_id], result)

    def _epoch(self, number: int, result: dict[str, Any]) -> None:
        if "epoch" not in result:
            return
        reported = _nested(result)
        self._conductor.measured(number, _MEASURED.validate_python(reported.get("measured", {})))
        # Tune adds entries of its own.
        fields = ("epoch", "metrics", "seconds", "processor_seconds")
        self._conductor.epoch(number, EPOCH.validate_python({name: reported[name] for name in fields if name in reported}))

    def stops(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial that reported `result` is to be stopped; one that has ended by itself never is."""
        number = self._numbers.get(trial_id)
        if number is None or "outcome" in result:
            return False
        with self._own_errors():
            self._epoch(number, result)
            reason = self._conductor.reason_to_stop(number)
            if reason is not None:
                self._stopping[trial_id] = reason
        return trial_id in self._stopping

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Ended, stopped by a scheduler (no outcome reported), or dead for good. After Ctrl-C the trial stays unfinished."""
        number = self._numbers.pop(trial_id, None)
        reason = self._stopping.pop(trial_id, None)
        if number is None:
            return
        with self._own_errors():
            self._complete(number, result or {}, error, reason)

    def _complete(self, number: int, result: dict[str, Any], error: bool, reason_to_stop: str | None) -> None:
        self._epoch(number, result)
        if "outcome" in result:
            self._conductor.finish(number, Outcome.model_validate_json(result["outcome"]))
        elif reason_to_stop is not None:
            # The verdict holds even where the worker died on its way out, or Ctrl-C came in between.
            self._conductor.stop(number, reason_to_stop)
        elif self.interrupted:
            return
        elif error or "epoch" not in result:
            self._conductor.finish(number, Outcome(state=TrialState.FAILED, reason="its worker died, again and again"))
        else:
            self._conductor.stop(number, f"at epoch {result['epoch']}, by Ray")

    def on_worker_lost(self, trial_id: str) -> None:
        """The trial's worker died; Ray starts it again elsewhere."""
        if trial_id in self._numbers:
            with self._own_errors():
                self._conductor.lost(self._numbers[trial_id])

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the records are the truth, and no pickle of the driver is written."""

    def __deepcopy__(self, memo: dict[int, Any]) -> StudySearcher:
        return self

    def __reduce__(self) -> tuple[type[Searcher], tuple[()]]:
        return Searcher, ()


def _nested(result: dict[str, Any]) -> dict[str, Any]:
    """A worker's result as it was reported: Tune hands it over as `metrics/accuracy: 0.5`."""
    nested: dict[str, Any] = {}
    for path, value in result.items():
        *outer, name = path.split("/")
        inner = nested
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[name] = value
    return nested
