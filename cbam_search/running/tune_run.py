"""One Ray Tune run over a conductor's trials."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial as RayTrial
from ray.tune.stopper import Stopper

from cbam_search.backbones.pretrained import Pretrained
from cbam_search.data.images import ImageData
from cbam_search.running.cluster import TrialResources
from cbam_search.running.conductor import Conductor
from cbam_search.running.scheduler import StudyScheduler
from cbam_search.running.searcher import StudySearcher
from cbam_search.running.trainable import CandidateTrainable, TrainingJob

WORKER_DEATHS_AT_MOST = 3
TUNE_SETTINGS = {
    # Tune's CSV, JSON and TensorBoard loggers cost seconds a trial; its snapshots are never read back.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class _Interruption(Stopper):
    """Ends the whole run once it is set; the searcher then leaves running trials unfinished."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._searcher.interrupted

    def __deepcopy__(self, memo: dict[int, Any]) -> _Interruption:
        return self

    def __reduce__(self) -> tuple[type[Stopper], tuple[()]]:
        return Stopper, ()


class _LostWorkers(Callback):
    """Tells the searcher when Ray starts a trial again after its worker died."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_recover(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:  # noqa: ARG002
        self._searcher.on_worker_lost(trial.trial_id)

    def __deepcopy__(self, memo: dict[int, Any]) -> _LostWorkers:
        return self

    def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
        return Callback, ()


def run_trials(
    conductor: Conductor, data: ImageData, job: TrainingJob, resources: TrialResources, pretrained: Pretrained
) -> bool:
    """Run until the conductor has no more trials; True when Ctrl-C ended it before.

    data, pretrained: put into Ray's object store once, from which workers on any node take them.
    Raises what went wrong in the study itself, such as RecordsError.
    """
    searcher = StudySearcher(conductor)
    trainable = tune.with_resources(
        tune.with_parameters(CandidateTrainable, data=data, job=job, pretrained=pretrained),
        {"cpu": resources.cpus, "gpu": resources.gpus},
    )
    with _environment(TUNE_SETTINGS), _scratch_folder() as scratch, _first_interrupt(searcher):
        Tuner(
            trainable,
            tune_config=TuneConfig(
                search_alg=searcher,
                scheduler=StudyScheduler(searcher) if conductor.rungs is not None else None,
                num_samples=-1,
                max_concurrent_trials=resources.max_concurrent,
                reuse_actors=True,
            ),
            run_config=RunConfig(
                name="trials",
                storage_path=scratch,
                verbose=0,
                stop=_Interruption(searcher),
                callbacks=[_LostWorkers(searcher)],
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
                failure_config=FailureConfig(max_failures=WORKER_DEATHS_AT_MOST),
            ),
        ).fit()
    if searcher.error is not None:
        raise searcher.error
    return searcher.interrupted


@contextmanager
def _first_interrupt(searcher: StudySearcher) -> Iterator[None]:
    """The first Ctrl-C ends the run cleanly; the second is Python's own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        searcher.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("stopping after the epochs under way; Ctrl-C again leaves at once", file=sys.stderr)  # noqa: T201

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _scratch_folder() -> Iterator[str]:
    """Where Tune may write; nothing in it is read again."""
    path = tempfile.mkdtemp(prefix="cbam-search-tune-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
