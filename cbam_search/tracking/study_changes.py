"""From events of a study to changes of its MLflow runs: one parent run for the study, one child run a trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from cbam_search.metrics import Measured, error_name, names_of
from cbam_search.records.events import (
    ArchitectureMeasured,
    EpochFinished,
    Event,
    FrontUpdated,
    StudyClosed,
    StudyExtended,
    StudyOpened,
    TrialFinished,
    TrialSkipped,
    TrialStarted,
)
from cbam_search.records.front import front_of
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import TrialState
from cbam_search.records.view import StudyView
from cbam_search.tracking.notes import trial_note
from cbam_search.tracking.run_changes import MetricRow, NewRun, RunChanges, RunStatus, milliseconds

STUDY = None
"""Key of the parent run; a trial's run goes by the trial's number."""

TRIAL_STATUS: Mapping[TrialState, RunStatus] = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.STOPPED: "KILLED",
    TrialState.DIVERGED: "FAILED",
    TrialState.FAILED: "FAILED",
    TrialState.INFEASIBLE: "FAILED",
    TrialState.DUPLICATE: "FINISHED",
}
STUDY_STATUS: Mapping[str, RunStatus] = {
    **dict.fromkeys(("trials", "hours", "epochs", "hypervolume"), "FINISHED"),
    "space_exhausted": "FINISHED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}


class StudyChanges:
    """Changes since the last write. The view moves on with each event; changes wait in `runs`, by trial number or STUDY."""

    def __init__(self, view: StudyView, objectives: tuple[ObjectiveAxis, ...]) -> None:
        self.view = view
        self.objectives = objectives
        self.runs: dict[int | None, RunChanges] = defaultdict(RunChanges)
        self.front_changed = False
        self._written = self._ranks()

    def add(self, event: Event) -> None:
        """Take in one event; one that repeats what was known changes nothing."""
        if not self.view.apply(event):
            return
        now = milliseconds(event.time_seconds)
        match event:
            case StudyOpened():
                self.runs[STUDY].set_status("RUNNING", None)
                self.runs[STUDY].tags["state"] = "running"
            case StudyExtended():
                self.runs[STUDY].tags["extended_to"] = f"{event.trials} trainings" + (
                    f", {event.hours:g} h" if event.hours else ""
                )
            case StudyClosed():
                self._close(event, now)
            case TrialStarted():
                self._start(event, now)
            case TrialSkipped():
                state = event.outcome.state
                count = self.view.count(state, trained=False)
                self._study_metric(f"proposals_{state}", count, now, step=len(self.view.trials))
            case EpochFinished():
                metrics = {**event.trained_metrics, "epoch_seconds": event.seconds}
                if event.epoch == 1:  # version 0.1 told it with every epoch
                    self._measured(event.trial, event.measured_metrics, now)
                self.runs[event.trial].metrics += [MetricRow(name, value, now, event.epoch) for name, value in metrics.items()]
            case ArchitectureMeasured():
                self._measured(event.trial, event.metrics, now)
            case TrialFinished():
                self._finish(event, now)
            case FrontUpdated():
                self._front(event, now)

    def add_rank_tags(self) -> None:
        """Add the tags of the trials whose place has changed since the last write."""
        for number, rank in self._ranks().items():
            before = self._written.get(number)
            if before != rank:
                self.runs[number].tags["pareto_rank"] = str(rank)
            if before is None or (before == 0) != (rank == 0):
                self.runs[number].tags["on_front"] = "true" if rank == 0 else "false"

    def _ranks(self) -> dict[int, int]:
        return front_of(self.view.trials.values(), self.objectives).ranks

    def _start(self, event: TrialStarted, now: int) -> None:
        candidate = event.candidate
        changes = self.runs[event.trial]
        changes.set_status("RUNNING", None)
        changes.new = changes.new or NewRun(name=f"{event.trial} {event.label}", start_ms=now)
        changes.params = {
            "backbone": candidate.architecture.backbone.name,
            **{name: str(value) for name, value in event.parameters.items()},
        }
        changes.tags |= {
            "state": "running",
            "attempt": str(event.attempt),
            "origin": candidate.origin.value,
            "digest": event.digest,
            "mlflow.note.content": trial_note(event.trial, candidate),
        }
        if candidate.architecture.published_name:
            changes.tags["published"] = candidate.architecture.published_name
        if event.attempt == 1:
            changes.metrics += [
                MetricRow("gflops", candidate.gflops, now, 0),
                MetricRow("params", float(candidate.params), now, 0),
            ]

    def _finish(self, event: TrialFinished, now: int) -> None:
        outcome = event.outcome
        changes = self.runs[event.trial]
        changes.set_status(TRIAL_STATUS[outcome.state], now)
        changes.tags["state"] = outcome.state.value
        if outcome.reason:
            changes.tags["reason"] = outcome.reason
        if outcome.replayed_from:
            changes.tags["replayed_from"] = f"{outcome.replayed_from.study}, trial {outcome.replayed_from.trial}"
            self._study_metric("trials_replayed", self.view.replayed, now)
        if outcome.state is not TrialState.COMPLETE:
            changes.tags["on_front"] = "false"
        if not self.view.measured(event.trial):  # version 0.1 told it of a trial found too slow with its end alone
            known = {name: outcome.metrics[name] for name in names_of("measured") if name in outcome.metrics}
            self._measured(event.trial, known, now)
        changes.metrics.append(MetricRow("training_seconds", outcome.seconds, now, outcome.epochs))
        self._study_metric(f"trials_{outcome.state}", self.view.count(outcome.state, trained=True), now)

    def _measured(self, trial: int, metrics: Mapping[str, Measured], now: int) -> None:
        """What was measured before the training, each with its error."""
        for name, measured in metrics.items():
            rows = {name: measured.value, error_name(name): measured.standard_error}
            self.runs[trial].metrics += [MetricRow(row, value, now, 0) for row, value in rows.items() if value is not None]

    def _front(self, event: FrontUpdated, now: int) -> None:
        self.front_changed = self.front_changed or event.changed
        if event.hypervolume is not None:
            self._study_metric("hypervolume", event.hypervolume, now)
        self._study_metric("front_size", len(event.front), now)
        members = [trial.values for number in event.front if (trial := self.view.trials.get(number)) and trial.values]
        for name in [objective.name for objective in self.objectives if objective.maximise and members]:
            self._study_metric(f"best_{name}", max(values[name] for values in members), now)

    def _close(self, event: StudyClosed, now: int) -> None:
        study = self.runs[STUDY]
        study.set_status(STUDY_STATUS[event.reason], now)
        study.tags |= {"state": event.reason, "closed": event.message}
        for number in self.view.unfinished():
            self.runs[number].set_status("KILLED", now)
            self.runs[number].tags["state"] = "interrupted"

    def _study_metric(self, name: str, value: float, now: int, *, step: int | None = None) -> None:
        self.runs[STUDY].metrics.append(MetricRow(name, float(value), now, self.view.finished if step is None else step))
