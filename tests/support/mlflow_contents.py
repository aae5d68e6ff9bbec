"""What a test reads from an MLflow store: through MLflow's own client, never through the code under test."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # tests report to nobody

from mlflow.entities import Run
from mlflow.tracking import MlflowClient


class StoreContents:
    """The experiment `cbam-search` of one store."""

    def __init__(self, uri: str, experiment: str = "cbam-search") -> None:
        self.uri = uri
        self.experiment = experiment
        self.client = MlflowClient(uri)

    def runs(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name(self.experiment)
        return list(self.client.search_runs([experiment.experiment_id], max_results=1000)) if experiment else []

    def parent(self) -> Run:
        (run,) = [run for run in self.runs() if "cbam_search.trial" not in run.data.tags]
        return run

    def child(self, trial: int) -> Run:
        return self.children()[trial]

    def children(self) -> dict[int, Run]:
        found = [run for run in self.runs() if "cbam_search.trial" in run.data.tags]
        by_trial = {int(run.data.tags["cbam_search.trial"]): run for run in found}
        assert len(by_trial) == len(found), "a trial has two runs"
        return by_trial

    def history(self, run: Run, metric: str) -> list[tuple[int, float, int]]:
        """Rows of (step, value, time in milliseconds), in their order."""
        rows = self.client.get_metric_history(run.info.run_id, metric)
        return sorted((row.step, row.value, row.timestamp) for row in rows)

    def artifact(self, run: Run, name: str, folder: Path) -> bytes:
        return Path(self.client.download_artifacts(run.info.run_id, name, str(folder))).read_bytes()

    def snapshot(self) -> dict[str, Any]:
        """Everything but run ids and artifacts, fit for comparing."""
        return {
            run.data.tags.get("cbam_search.trial", "study"): {
                "name": run.info.run_name,
                "status": run.info.status,
                "start": run.info.start_time,
                "end": run.info.end_time,
                "params": run.data.params,
                "tags": {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"},
                "metrics": {name: self.history(run, name) for name in run.data.metrics},
            }
            for run in self.runs()
        }

    def table(self, folder: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.artifact(self.parent(), "front_table.json", folder))
        return content
