"""The few things asked of MLflow, by explicit run id: never the fluent interface with its active run, never autologging."""

from __future__ import annotations

import getpass
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.tracking import MlflowClient, get_tracking_uri

from cbam_search.errors import UserError
from cbam_search.records.project import Project
from cbam_search.safe_text import printable
from cbam_search.tracking.address import NOT_MLFLOW
from cbam_search.tracking.local_store import bring_artifacts_along, database_of, make_whole, moved, new_location
from cbam_search.tracking.run_changes import NewRun, RunChanges

STUDY_ID_TAG = "cbam_search.study_id"
TRIAL_TAG = "cbam_search.trial"
METRICS_AT_ONCE = 800
PAIRS_AT_ONCE = 100
"""MLflow takes at most 1,000 entities a call, of them 100 parameters and 100 tags."""

_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Searches over attention placement: one run a study, with one nested run a training. "
    "Each study's front is among its artifacts: front.html, front.png, front_table.json.",
}
T = TypeVar("T")


class MlflowStore:
    """One experiment of one MLflow store, as a study sees it; raises what MLflow raises."""

    def __init__(self, uri: str | None, experiment: str, study_id: str, project: Project | None = None) -> None:
        """uri: None for MLflow's default. project: of the study, for a store that has moved with it."""
        self.uri: str = moved(uri or get_tracking_uri(), project)
        self._database = database_of(self.uri)
        if self._database:
            make_whole(self._database)
        self.client = MlflowClient(tracking_uri=self.uri)
        self.study_id = study_id
        self.artifacts_moved_to: str | None = None
        """Where, if they were found to have moved with the store."""
        self.experiment_id = self._experiment(experiment)

    def find_runs(self) -> dict[int | None, str]:
        """Run ids of the study by trial number; None is the parent run. Deleted runs are not there."""
        found: dict[int | None, str] = {}
        for run in self._search(f"tags.`{STUDY_ID_TAG}` = '{self.study_id}'"):
            trial = run.data.tags.get(TRIAL_TAG)
            found.setdefault(None if trial is None else int(trial), run.info.run_id)
        return found

    def create_run(self, new: NewRun, trial: int | None, parent_run_id: str | None) -> str:
        """A new run that carries the tags it is found by from its first moment."""
        tags = {STUDY_ID_TAG: self.study_id, "mlflow.source.name": "cbam-search", "mlflow.user": _user()}
        if trial is not None and parent_run_id is not None:
            tags |= {TRIAL_TAG: str(trial), "mlflow.parentRunId": parent_run_id}
        run = self.client.create_run(self.experiment_id, start_time=new.start_ms, tags=tags, run_name=new.name)
        return str(run.info.run_id)

    def write(self, run_id: str, changes: RunChanges) -> None:
        """Write everything in as few calls as MLflow's limits allow; repeating it changes nothing."""
        metrics = _batches([Metric(row.name, row.value, row.time_ms, row.step) for row in changes.metrics], METRICS_AT_ONCE)
        params = _batches([Param(name, value) for name, value in changes.params.items()], PAIRS_AT_ONCE)
        tags = _batches([RunTag(name, value) for name, value in changes.tags.items()], PAIRS_AT_ONCE)
        for some_metrics, some_params, some_tags in zip_longest(metrics, params, tags, fillvalue=()):
            self.client.log_batch(run_id, metrics=some_metrics, params=some_params, tags=some_tags)
        if changes.status == "RUNNING":
            self.client.update_run(run_id, status="RUNNING")
        elif changes.status is not None:
            self.client.set_terminated(run_id, status=changes.status, end_time=changes.end_ms)

    def params(self, run_id: str) -> dict[str, str]:
        """Parameters a run has already: MLflow lets none be changed."""
        return dict(self.client.get_run(run_id).data.params)

    def write_artifacts(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Put files beside a run under their names, over those that were there."""
        with tempfile.TemporaryDirectory(prefix="cbam-search-") as folder:
            for name, content in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self.client.log_artifacts(run_id, folder)

    def _search(self, query: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], query, ViewType.ACTIVE_ONLY, 500, ["attributes.start_time ASC"], token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            location = new_location() if self._database else None
            return str(self.client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
        if not experiment.experiment_id:
            raise UserError(NOT_MLFLOW)
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"the MLflow experiment '{printable(name)}' was deleted: restore it with `mlflow experiments restore "
                f"--experiment-id {experiment.experiment_id}`, or give another name in tracking.experiment"
            )
        through_server = experiment.artifact_location.startswith("mlflow-artifacts:")
        if through_server and not self.uri.startswith(("http://", "https://")):
            raise UserError(
                f"the MLflow experiment '{printable(name)}' was made by a tracking server, which alone can take its artifacts: "
                "give the server's address in tracking.uri, or another name in tracking.experiment"
            )
        if self._database:
            before = experiment.artifact_location
            now = bring_artifacts_along(self._database, experiment.experiment_id, before)
            self.artifacts_moved_to = now if now != before else None
        return str(experiment.experiment_id)


def _batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
