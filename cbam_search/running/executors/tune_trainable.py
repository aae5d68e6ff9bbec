"""Ray Tune's worker: a warm actor with a `Worker` in it, one step an epoch.

MLflow is never imported here, and Optuna neither.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ray import tune
from ray.exceptions import RayError

from cbam_search.backbones.pretrained import Pretrained
from cbam_search.data.images import ImageData
from cbam_search.errors import CbamSearchError
from cbam_search.running.executors.remote_inbox import RemoteInbox
from cbam_search.running.worker import Worker, WorkerJob
from cbam_search.running.worker_report import REPORT, TASK

TASK_KEY = "task"
REPORT_KEY = "report"


class CandidateTrainable(tune.Trainable):
    """Does `config["task"]`, an `EvaluationTask` as JSON. A result holds `report`, a `WorkerReport` as JSON, and `done`."""

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], *, data: ImageData, job: WorkerJob, pretrained: Pretrained, inbox: RemoteInbox
    ) -> None:
        self._worker = Worker(job, data, inbox, pretrained=pretrained, own_process=True)
        self._worker.begin(TASK.validate_json(config[TASK_KEY]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._worker.begin(TASK.validate_json(new_config[TASK_KEY]))
        return True

    def step(self) -> dict[str, Any]:
        report = self._worker.step()
        return {REPORT_KEY: REPORT.dump_json(report).decode(), "done": report.ended}

    def cleanup(self) -> None:
        """The run ends in the middle of it. Where the driver has stopped the evaluation, or is gone, nothing is to be kept."""
        with suppress(CbamSearchError, RayError):
            self._worker.save()
        self._worker.drop()
