"""A study's parts put together from what was prepared: proposer, conductor, and where its trials run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cbam_search.cost.latency_cache import LatencyCache
from cbam_search.records.config import RecordsConfig
from cbam_search.records.evaluation_cache import Artifact
from cbam_search.records.inbox import Inbox
from cbam_search.records.study_records import StudyRecords
from cbam_search.running.cluster import TrialResources
from cbam_search.running.conductor import Conductor
from cbam_search.running.executors.executor import Executor
from cbam_search.running.latency_meter import LatencyJob, LatencyMeter
from cbam_search.running.nodes import gpu_models
from cbam_search.running.replays import CPU, Replays, StudyKeys
from cbam_search.running.worker import WorkerJob
from cbam_search.search.proposer import Proposer
from cbam_search.search.rungs import Rungs
from cbam_search.study.preparation import Preparation


def conductor_of(
    records: StudyRecords, prepared: Preparation, resources: TrialResources, latency: LatencyJob | None
) -> Conductor:
    """The conductor with all that decides."""
    config = prepared.config
    proposer = Proposer(
        records,
        prepared.space,
        prepared.cost.cost,
        config.search,
        seed=config.seed,
        bounds=prepared.bounds,
        published=prepared.published.trained,
        measured_bounds=config.constraints.measured_bounds(),
        warm_start=prepared.warm_start.architectures if prepared.warm_start else (),
    )
    return Conductor(
        records,
        proposer,
        config.records.keep,
        keep_bytes=config.records.keep_gib * 2**30,
        rungs=_rungs(prepared),
        replays=replays_of(records, prepared, resources, latency),
    )


@contextmanager
def executor_of(
    records: StudyRecords,
    prepared: Preparation,
    resources: TrialResources,
    latency: LatencyJob | None,
    check: Callable[[], None],
) -> Iterator[Executor]:
    """Where trials run, as `resources.executor` says. check: see `Inbox`; it must pickle."""
    job = _worker_job(prepared, resources, latency)
    if resources.inline:
        from cbam_search.running.executors.inline import InlineExecutor
        from cbam_search.running.worker import Worker

        inbox = Inbox(records.folder, check)
        with InlineExecutor(Worker(job, prepared.data, inbox, pretrained=prepared.pretrained), inbox) as inline:
            yield inline
        return
    from cbam_search.running.executors.ray_tune import TuneExecutor
    from cbam_search.running.executors.remote_inbox import inbox_beside_driver

    with (
        inbox_beside_driver(records.folder, check) as remote,
        TuneExecutor(prepared.data, job, remote, resources, prepared.pretrained) as tune,
    ):
        yield tune


def _worker_job(prepared: Preparation, resources: TrialResources, latency: LatencyJob | None) -> WorkerJob:
    config = prepared.config
    return WorkerJob(
        recipe=config.training,
        threads=config.resources.threads,
        on_gpu=resources.gpus > 0,
        keep_weights=config.records.keep != "none",
        keep_predictions=config.records.predictions,
        code=prepared.code,
        latency=latency,
    )


def _rungs(prepared: Preparation) -> Rungs | None:
    """Where trials are stopped early."""
    config = prepared.config
    if config.search.scheduler.kind == "none":
        return None
    return Rungs(
        config.search.scheduler,
        epochs=config.training.epochs,
        bounds=prepared.bounds,
        measured_bounds=config.constraints.measured_bounds(),
    )


def replays_of(
    records: StudyRecords, prepared: Preparation, resources: TrialResources, latency: LatencyJob | None
) -> Replays | None:
    """The way to the evaluation cache; None where it is off. Raises ResourceError where a node does not name its GPU."""
    if prepared.evaluations is None:
        return None
    config, data = prepared.config, prepared.data
    on_gpu = resources.gpus > 0
    keys = StudyKeys(
        config.training,
        config.seed,
        data,
        weights={backbone: weights.sha256 for backbone, weights in prepared.pretrained.items()},
        device=gpu_models(resources) if on_gpu else CPU,
    )
    meter = None
    if latency is not None:
        meter = LatencyMeter(
            latency,
            LatencyCache(records.folder.latency),
            channels=data.channels,
            image_size=data.image_size,
            threads=config.resources.threads,
            on_gpu=on_gpu,
        )
    return Replays(
        prepared.evaluations,
        keys,
        records.folder,
        records.manifest,
        needed=kept_artifacts(config.records),
        meter=meter,
    )


def kept_artifacts(config: RecordsConfig) -> list[Artifact]:
    """What complete trials keep."""
    kept: list[Artifact] = ["weights"] if config.keep != "none" else []
    return [*kept, "predictions"] if config.predictions else kept
