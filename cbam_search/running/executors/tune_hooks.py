"""Where Ray Tune asks or tells: what is to be tried next, whether a trial goes on, which worker died, whether all ends.

Each hook passes the question on and decides nothing. Everything durable is elsewhere: Ray may copy and pickle hooks freely.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol, cast

from ray.tune import Callback
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

_FAILURE = re.compile(r"^Failure # \d+ \(occurred at .*\)\n", re.MULTILINE)


class NoMoreTasks:
    """In place of a task: none will come."""


class TuneListener(Protocol):
    """Whoever answers. Trials go by Ray's ids."""

    def wanted(self, ray_id: str) -> dict[str, Any] | NoMoreTasks | None:
        """A trial's config; None for none at the moment."""
        ...

    def reported(self, ray_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial goes on, after a result that does not end it."""
        ...

    def ended(self, ray_id: str, result: dict[str, Any] | None, *, worker_died: bool) -> None:
        """The trial ended: by its result, because it was told to, or because so many of its workers died."""
        ...

    def worker_lost(self, ray_id: str) -> None:
        """Its worker died, and it goes on elsewhere."""
        ...

    def has_worker(self, ray_id: str) -> None:
        """A worker begins with it, or goes on with it."""
        ...

    def error(self, ray_id: str, told: str) -> None:
        """What Ray says of an error that the trial came to; `worker_lost` or `ended` follows."""
        ...

    def interrupted(self) -> bool:
        """Whether all trials end now."""
        ...


class _Hook:
    """Stands where Ray wants an object that it can copy and pickle: the copy is itself, and the pickle holds nothing."""

    _listener: TuneListener

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


class TuneSearcher(_Hook, Searcher):
    """Ray's `Searcher`."""

    def __init__(self, listener: TuneListener) -> None:
        Searcher.__init__(self)
        self._listener = listener

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        config = self._listener.wanted(trial_id)
        return cast("dict[str, Any]", Searcher.FINISHED) if isinstance(config, NoMoreTasks) else config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._listener.ended(trial_id, result, worker_died=error)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the records are the truth, and no pickle of the driver is written."""

    def __reduce__(self) -> tuple[type[Searcher], tuple[()]]:
        return Searcher, ()


class TuneScheduler(_Hook, FIFOScheduler):
    """Ray's `TrialScheduler`: trials start in their order. Tune asks it about each result before it lets the worker go on."""

    def __init__(self, listener: TuneListener) -> None:
        FIFOScheduler.__init__(self)  # type: ignore[no-untyped-call]
        self._listener = listener

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:  # noqa: ARG002
        return TrialScheduler.CONTINUE if self._listener.reported(trial.trial_id, result) else TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:  # noqa: ARG002
        self._listener.error(trial.trial_id, _last_error(trial))

    def debug_string(self) -> str:
        return "Stopping as the study says."

    def __reduce__(self) -> tuple[type[FIFOScheduler], tuple[()]]:
        return FIFOScheduler, ()


class TuneWorkers(_Hook, Callback):
    """Ray's `Callback`, told when a trial gets a worker, and when it starts again after its worker died."""

    def __init__(self, listener: TuneListener) -> None:
        self._listener = listener

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:  # noqa: ARG002
        self._listener.has_worker(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:  # noqa: ARG002
        self._listener.worker_lost(trial.trial_id)

    def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
        return Callback, ()


class TuneStopper(_Hook, Stopper):
    """Ray's `Stopper`: ends the whole run once it is interrupted."""

    def __init__(self, listener: TuneListener) -> None:
        self._listener = listener

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._listener.interrupted()

    def __reduce__(self) -> tuple[type[Stopper], tuple[()]]:
        return Stopper, ()


def _last_error(trial: RayTrial) -> str:
    """As Tune has just written it into a file of the trial's, after those before."""
    try:
        text = Path(trial.error_file or "").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return _FAILURE.split(text)[-1]
