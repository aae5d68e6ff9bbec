"""One study's records, open: every change goes to disk first, then into the view, then to whoever listens.

Two files hold a study. The Optuna storage holds its trials (parameters, candidate, outcome); the ledger holds every event and
every epoch in order. A worker's own result file bridges the moment between the end of a training and the driver's note of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage

from cbam_search.metrics import Measured, known_values
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.events import (
    ArchitectureMeasured,
    EpochFinished,
    EvaluationFinished,
    Event,
    FrontUpdated,
    StudyClosed,
    StudyExtended,
    StudyOpened,
    TrialFinished,
    TrialSkipped,
    TrialStarted,
    TrialWaits,
    WeightsRemoved,
)
from cbam_search.records.folder import StudyFolder
from cbam_search.records.front import StudyFront
from cbam_search.records.ledger import Ledger, Listener, read_events
from cbam_search.records.manifest import SCHEMA_VERSION, BudgetChange, StudyManifest
from cbam_search.records.older import bring_up_to_date
from cbam_search.records.patience import PatientStorage
from cbam_search.records.storage import StudyStorage, open_storage
from cbam_search.records.stored_trials import (
    ATTEMPTS,
    CANDIDATE,
    OUTCOME,
    optuna_study_of,
    read_doubtful_trials,
    stored_candidate,
)
from cbam_search.records.trials import Candidate, Outcome, Trial, TrialState, evaluation_id
from cbam_search.records.view import StudyView
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION


class StudyRecords:
    """The trials of a study, and the only way to change them. Not thread-safe: the driver's main thread owns it."""

    def __init__(self, folder: StudyFolder, manifest: StudyManifest, storage: BaseStorage, ledger: Ledger) -> None:
        self.folder = folder
        self.manifest = manifest
        # A cache, since a database looks through all trials for the one of a number.
        self.storage = StudyStorage(storage) if isinstance(storage, RDBStorage) else storage
        self._given_storage = storage
        self.ledger = ledger
        self.optuna_study_id = optuna_study_of(self.storage, manifest, folder)
        self.view = StudyView(seed=manifest.seed)
        """The fold of all events so far; its trials are those of the storage."""
        for event, _ in read_events(folder.ledger):
            self.view.apply(event)
        known = self.view.trials
        self.view.reconcile(read_doubtful_trials(self.storage, self.optuna_study_id, manifest, known))
        ledger.subscribe(self._take)
        if manifest.schema_version < SCHEMA_VERSION:
            bring_up_to_date(folder, self.trials.values())
            self.manifest = manifest.model_copy(update={"schema_version": SCHEMA_VERSION})
            folder.write_manifest(self.manifest)
        self.front = StudyFront(self.trials.values(), manifest.objectives)
        self.view.front, self.view.hypervolume = self.front.numbers, self.front.hypervolume
        self.started = sum(trial.was_trained for trial in self.trials.values())
        """Trainings started, the figure that `trials` in the YAML bounds."""

    @property
    def trials(self) -> dict[int, Trial]:
        """By number."""
        return self.view.trials

    def be_patient(self, unless: Callable[[], bool]) -> None:
        """From now on wait where the storage is away for a minute or two. unless: says that nothing is to be waited for."""
        if isinstance(self._given_storage, PatientStorage):
            self._given_storage.be_patient(unless)

    def check(self) -> None:
        """Raise LeaseLostError where another driver has taken over; every write here checks by itself."""
        self.ledger.check()

    def subscribe(self, listener: Listener) -> None:
        """Have `listener` called with each event from now on, after it is on disk and in the view."""
        self.ledger.subscribe(listener)

    def optuna_study(self, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """The Optuna study, proposing with `sampler`."""
        return optuna.load_study(study_name=self.manifest.study_id, storage=self.storage, sampler=sampler)

    def opened(self, *, resumed: bool) -> None:
        self.ledger.append(StudyOpened(resumed=resumed, numerics_version=NUMERICS_VERSION))

    def extend(self, trials: int, hours: float | None, *, given: tuple[int, float | None]) -> None:
        """Go on beyond the budget, or end before it. trials, hours: in all. given: those of the YAML, as it is now."""
        change = BudgetChange(time_seconds=time.time(), version=version("cbam-search"), trials=trials, hours=hours, given=given)
        self.manifest = self.manifest.model_copy(update={"history": (*self.manifest.history, change)})
        self.folder.write_manifest(self.manifest)
        self.ledger.append(StudyExtended(trials=trials, hours=hours))

    def start(self, number: int, candidate: Candidate, parameters: Mapping[str, Any]) -> Trial:
        """A candidate goes to training, as trial `number`."""
        self._set(number, CANDIDATE, stored_candidate(candidate))
        self.started += 1
        evaluations = (evaluation_id(candidate.digest, self.manifest.seed),)
        return self._note_start(Trial(number, candidate, evaluations=evaluations), parameters)

    def start_again(self, number: int, parameters: Mapping[str, Any], *, anew: bool = False, died: str | None = None) -> Trial:
        """A training that died with its worker or driver goes on, under the same number.

        anew: from its first epoch. died: why its worker died.
        """
        trial = self.trials[number]
        trial = replace(trial, attempts=trial.attempts + 1)
        self._set(number, ATTEMPTS, trial.attempts)
        return self._note_start(trial, parameters, anew=anew, died=died)

    def waits(self, number: int, why: str | None) -> None:
        """A trial waits for something outside of the study; why: what for, None where it goes on. Noted once."""
        waiting = self.view.waiting.get(number)
        if (waiting.why if waiting else None) != why:
            self.ledger.append(TrialWaits(trial=number, why=why))

    def skip(self, number: int, candidate: Candidate, outcome: Outcome) -> None:
        """A proposal that needs no training: infeasible, or a duplicate."""
        self._set(number, ATTEMPTS, 0)
        self._set(number, OUTCOME, outcome.model_dump(mode="json"))
        self._set(number, CANDIDATE, stored_candidate(candidate))
        self.ledger.append(
            TrialSkipped(trial=number, candidate=candidate, label=candidate.label, digest=candidate.digest, outcome=outcome)
        )

    def measured(self, number: int, metrics: Mapping[str, Measured]) -> None:
        """What was measured of a trial's architecture, before its training."""
        self.ledger.append(ArchitectureMeasured(trial=number, metrics=dict(metrics)))

    def epoch(self, number: int, epoch: Epoch, *, replayed: bool = False) -> None:
        """One more epoch of a running trial; replayed: trained by another study."""
        self.ledger.append(
            EpochFinished(
                trial=number,
                attempt=self.trials[number].attempts,
                epoch=epoch.epoch,
                metrics=epoch.metrics,
                seconds=epoch.seconds,
                replayed=replayed,
            )
        )

    def evaluated(self, evaluation: Evaluation) -> None:
        """A training that is not the search's own ended."""
        self.ledger.append(EvaluationFinished(evaluation=evaluation))

    def finish(self, number: int, outcome: Outcome) -> None:
        """A training ended; a complete trial gets the values of its objectives here, and the front follows."""
        outcome = self._with_values(number, outcome.with_errors(self.manifest.data.validation))
        self._set(number, OUTCOME, outcome.model_dump(mode="json"))
        self.ledger.append(TrialFinished(trial=number, outcome=outcome))
        self._note_front(changed=self.front.add(self.trials[number], self.manifest.objectives))

    def _with_values(self, number: int, outcome: Outcome) -> Outcome:
        """The outcome of a trial's training with the values of the objectives, where it is complete."""
        if outcome.state is not TrialState.COMPLETE:
            return outcome
        metrics = {name: entry.value for name, entry in outcome.metrics.items()}
        known = metrics | known_values(self.trials[number].candidate)
        return outcome.model_copy(update={"values": {axis.name: known[axis.name] for axis in self.manifest.objectives}})

    def settle(self, number: int) -> None:
        """Note in the ledger how a training ended, where a killed driver stored it and may have come no further."""
        outcome = self.trials[number].outcome
        assert outcome is not None
        if not self.view.end_is_noted(number):
            self.ledger.append(TrialFinished(trial=number, outcome=outcome))
        # Whether the front was noted is not worth finding out: noted twice, it is the same.
        self._note_front(changed=True)

    def weights_removed(self, numbers: Sequence[int]) -> None:
        """Weights were removed while the study goes on, to stay within its bound."""
        self.ledger.append(WeightsRemoved(trials=tuple(numbers)))

    def fix_references(self, references: Mapping[str, float]) -> None:
        """Fix the references of these objectives, for good; the next front has its hypervolume by them."""
        self.folder.fix_references(references)
        self.manifest = self.folder.read_manifest()

    def closed(self, event: StudyClosed) -> None:
        self.ledger.append(event)

    def close(self) -> None:
        """Let go of the files."""
        self.ledger.close()
        self._given_storage.remove_session()
        if isinstance(self._given_storage, RDBStorage):
            self._given_storage.engine.dispose()

    def _note_front(self, *, changed: bool) -> None:
        self.ledger.append(
            FrontUpdated(
                front=self.front.numbers,
                hypervolume=self.front.hypervolume,
                changed=changed,
                complete=self.front.complete,
            )
        )

    def _take(self, event: Event) -> None:
        self.view.apply(event)

    def _note_start(self, trial: Trial, parameters: Mapping[str, Any], *, anew: bool = False, died: str | None = None) -> Trial:
        self.ledger.append(
            TrialStarted(
                trial=trial.number,
                attempt=trial.attempts,
                candidate=trial.candidate,
                label=trial.candidate.label,
                digest=trial.candidate.digest,
                parameters=dict(parameters),
                seed=self.manifest.seed,
                anew=anew,
                died=died,
            )
        )
        return self.trials[trial.number]

    def _set(self, number: int, key: str, value: Any) -> None:
        self.check()
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.optuna_study_id, number)
        self.storage.set_trial_user_attr(trial_id, key, value)


def open_records(folder: StudyFolder, url: str | None, check: Callable[[], None] = lambda: None) -> StudyRecords:
    """Open a study's records for writing; the caller holds the folder's lock.

    check: called before every write; raises LeaseLostError where another driver has taken over.
    """
    manifest = folder.read_manifest()
    return StudyRecords(folder, manifest, open_storage(url, folder), Ledger(folder.ledger, check))
