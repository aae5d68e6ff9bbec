"""One connection to MLflow: finds the study's runs there, and writes the ledger on from where it was left.

After any error the session is dropped and a new one opened: it looks up again which runs exist, and repeats what the cursor
does not yet cover. Repeating is harmless, as runs are found by their tags and metrics carry the times of their events.
"""

from __future__ import annotations

from itertools import islice

from cbam_search.records.events import StudyClosed
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.records.view import StudyView
from cbam_search.safe_text import without_secrets
from cbam_search.tracking.address import with_variables
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.cursor import Cursor, read_cursor, write_cursor
from cbam_search.tracking.parent_run import front_files, study_files, study_params, study_tags
from cbam_search.tracking.run_changes import NewRun, RunChanges, milliseconds
from cbam_search.tracking.store import MlflowStore
from cbam_search.tracking.study_changes import STUDY, StudyChanges

EVENTS_AT_ONCE = 2000


class Session:
    """Raises what MLflow raises, RecordsError for a damaged ledger, and UserError for settings that cannot work.

    anew: leave the cursor aside and write everything again.
    """

    def __init__(self, folder: StudyFolder, config: TrackingConfig, *, anew: bool = False) -> None:
        self.folder = folder
        self.manifest = folder.read_manifest()
        self.store = MlflowStore(with_variables(config.uri), config.experiment, self.manifest.study_id, folder.project())
        self.front_is_stale = True
        cursor = None if anew else read_cursor(folder.mlflow_state)
        self._runs = self.store.find_runs()
        known = cursor is not None and cursor.parent_run_id == self._runs.get(STUDY)
        self._offset = cursor.offset if cursor is not None and known else 0
        self._describe_study()
        self._view = self._view_at(self._offset)

    @property
    def cursor(self) -> Cursor:
        """Where things stand."""
        return Cursor(
            offset=self._offset,
            store=without_secrets(self.store.uri),
            experiment_id=self.store.experiment_id,
            parent_run_id=self._runs[STUDY],
            runs={trial: run_id for trial, run_id in self._runs.items() if trial is not None},
        )

    def advance(self) -> int:
        """Write the next events of the ledger; returns how many, 0 at its end."""
        changes = StudyChanges(self._view, self.manifest.objectives)
        offset, count = self._offset, 0
        for event, after in islice(read_events(self.folder.ledger, self._offset), EVENTS_AT_ONCE):
            changes.add(event)
            self.front_is_stale |= isinstance(event, StudyClosed)
            offset, count = after, count + 1
        if count:
            changes.add_rank_tags()
            self.front_is_stale |= changes.front_changed
            for trial, run_changes in changes.runs.items():
                self._write(trial, run_changes)
            self._offset = offset
            write_cursor(self.folder.mlflow_state, self.cursor)
        return count

    def publish_front(self) -> None:
        """Put the front as it stands beside the parent run, over what was there."""
        # Read again: the references of measured costs are fixed while the study runs.
        self.manifest = self.folder.read_manifest()
        self.store.write_artifacts(self._runs[STUDY], front_files(self._view.trials.values(), self.manifest))
        self.front_is_stale = False

    def _write(self, trial: int | None, changes: RunChanges) -> None:
        """A trial without a run whose start was written before is one that someone has deleted: it is left alone."""
        if trial not in self._runs:
            if changes.new is None:
                return
            self._runs[trial] = self.store.create_run(changes.new, trial, self._runs[STUDY])
        if changes.new is not None:
            changes.tags["mlflow.parentRunId"] = self._runs[STUDY]
        self.store.write(self._runs[trial], changes)

    def _describe_study(self) -> None:
        if STUDY not in self._runs:
            new = NewRun(name=self.manifest.name, start_ms=milliseconds(self.manifest.created_seconds))
            self._runs[STUDY] = self.store.create_run(new, STUDY, None)
        run_id = self._runs[STUDY]
        already = self.store.params(run_id)
        params = {name: value for name, value in study_params(self.folder).items() if name not in already}
        self.store.write(run_id, RunChanges(params=params, tags=study_tags(self.manifest)))
        self.store.write_artifacts(run_id, study_files(self.folder))

    def _view_at(self, offset: int) -> StudyView:
        """The study as it was when everything before `offset` had been written."""
        view = StudyView(seed=self.manifest.seed)
        for event, after in read_events(self.folder.ledger) if offset else ():
            if after > offset:
                break
            view.apply(event)
        return view
