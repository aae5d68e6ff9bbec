"""The evaluation cache of one study, where its YAML asks for it."""

from __future__ import annotations

from cbam_search.records.config import RecordsConfig
from cbam_search.records.evaluation_cache import Artifact
from cbam_search.records.study_records import StudyRecords
from cbam_search.running.cluster import TrialResources
from cbam_search.running.latency import LatencyJob, LatencyMeter
from cbam_search.running.nodes import gpu_models
from cbam_search.running.replays import CPU, Replays, StudyKeys
from cbam_search.study.preparation import Preparation


def kept_artifacts(config: RecordsConfig) -> list[Artifact]:
    """What complete trials keep."""
    kept: list[Artifact] = ["weights"] if config.keep != "none" else []
    return [*kept, "predictions"] if config.predictions else kept


def replays_of(
    records: StudyRecords, prepared: Preparation, resources: TrialResources, latency: LatencyJob | None
) -> Replays | None:
    """None where the cache is off. Ray is running; raises ResourceError where a node does not say which GPU it has."""
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
            records.folder,
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
