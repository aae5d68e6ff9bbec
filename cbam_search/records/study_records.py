"""One study's records, open: every change goes to disk first, then to whoever listens.

Two files hold a study. The Optuna storage holds its trials (parameters, candidate, outcome); the ledger holds every event and
every epoch in order. A worker's own result file bridges the moment between the end of a training and the driver's note of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from cbam_search.errors import RecordsError
from cbam_search.records.events import (
    EpochFinished,
    FrontUpdated,
    StudyClosed,
    StudyOpened,
    TrialFinished,
    TrialSkipped,
    TrialStarted,
)
from cbam_search.records.folder import StudyFolder
from cbam_search.records.front import StudyFront
from cbam_search.records.ledger import Ledger, read_events
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.storage import open_storage
from cbam_search.records.trials import Candidate, Outcome, Trial, TrialState

CANDIDATE = "candidate"
OUTCOME = "outcome"
ATTEMPTS = "attempts"


class StudyRecords:
    """The trials of a study, and the only way to change them. Not thread-safe: the driver's main thread owns it."""

    def __init__(self, folder: StudyFolder, manifest: StudyManifest, storage: BaseStorage, ledger: Ledger) -> None:
        self.folder = folder
        self.manifest = manifest
        # Optuna's cache, which a study has anyway: a database looks through all trials for the one of a number.
        self.storage = optuna.storages.get_storage(storage)
        self._given_storage = storage
        self.ledger = ledger
        self.optuna_study_id = _optuna_study(self.storage, manifest, folder)
        self.trials: dict[int, Trial] = read_trials(self.storage, manifest)
        self.front = StudyFront(self.trials.values(), manifest.objectives)
        self.started = sum(trial.was_trained for trial in self.trials.values())
        """Trainings started, the figure that `trials` in the YAML bounds."""

    def optuna_study(self, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """The Optuna study, proposing with `sampler`."""
        return optuna.load_study(study_name=self.manifest.study_id, storage=self.storage, sampler=sampler)

    def opened(self, *, resumed: bool) -> None:
        self.ledger.append(StudyOpened(resumed=resumed))

    def start(self, number: int, candidate: Candidate, parameters: Mapping[str, Any]) -> Trial:
        """A candidate goes to training, as trial `number`."""
        self._set(number, CANDIDATE, candidate.model_dump(mode="json"))
        self.started += 1
        return self._note_start(Trial(number, candidate), parameters)

    def start_again(self, number: int, parameters: Mapping[str, Any]) -> Trial:
        """A training that died with its worker or driver goes on, under the same number."""
        trial = self.trials[number]
        trial = replace(trial, attempts=trial.attempts + 1)
        self._set(number, ATTEMPTS, trial.attempts)
        return self._note_start(trial, parameters)

    def skip(self, number: int, candidate: Candidate, outcome: Outcome) -> None:
        """A proposal that needs no training: infeasible, or a duplicate."""
        self._set(number, ATTEMPTS, 0)
        self._set(number, OUTCOME, outcome.model_dump(mode="json"))
        self._set(number, CANDIDATE, candidate.model_dump(mode="json"))
        self.trials[number] = Trial(number, candidate, outcome, attempts=0)
        self.ledger.append(
            TrialSkipped(trial=number, candidate=candidate, label=candidate.label, digest=candidate.digest, outcome=outcome)
        )

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float], seconds: float, *, replayed: bool = False) -> None:
        """One more epoch of a running trial; replayed: trained by another study."""
        self.ledger.append(
            EpochFinished(
                trial=number,
                attempt=self.trials[number].attempts,
                epoch=epoch,
                metrics=dict(metrics),
                seconds=seconds,
                replayed=replayed,
            )
        )

    def finish(self, number: int, outcome: Outcome) -> None:
        """A training ended; the front follows."""
        self._set(number, OUTCOME, outcome.model_dump(mode="json"))
        self.trials[number] = replace(self.trials[number], outcome=outcome)
        self.ledger.append(TrialFinished(trial=number, outcome=outcome))
        self._note_front(changed=self.front.add(self.trials[number], self.manifest.objectives))

    def settle(self, number: int) -> None:
        """Note in the ledger how a training ended, where a killed driver stored it and may have come no further."""
        outcome = self.trials[number].outcome
        assert outcome is not None
        ends = (event for event, _ in read_events(self.folder.ledger) if isinstance(event, TrialFinished))
        if all(event.trial != number for event in ends):
            self.ledger.append(TrialFinished(trial=number, outcome=outcome))
        # Whether the front was noted is not worth finding out: noted twice, it is the same.
        self._note_front(changed=True)

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

    def _note_start(self, trial: Trial, parameters: Mapping[str, Any]) -> Trial:
        self.trials[trial.number] = trial
        self.ledger.append(
            TrialStarted(
                trial=trial.number,
                attempt=trial.attempts,
                candidate=trial.candidate,
                label=trial.candidate.label,
                digest=trial.candidate.digest,
                parameters=dict(parameters),
            )
        )
        return trial

    def _set(self, number: int, key: str, value: Any) -> None:
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.optuna_study_id, number)
        self.storage.set_trial_user_attr(trial_id, key, value)


def open_records(folder: StudyFolder, url: str | None) -> StudyRecords:
    """Open a study's records for writing; the caller holds the folder's lock."""
    manifest = folder.read_manifest()
    return StudyRecords(folder, manifest, open_storage(url, folder), Ledger(folder.ledger))


def read_trials(storage: BaseStorage, manifest: StudyManifest) -> dict[int, Trial]:
    """Every trial that has a candidate, by number; none where no driver has begun the study yet."""
    study_id = _find_optuna_study(storage, manifest)
    if study_id is None:
        return {}
    trials = {}
    for frozen in storage.get_all_trials(study_id, deepcopy=False):
        if CANDIDATE not in frozen.user_attrs:
            continue
        outcome = frozen.user_attrs.get(OUTCOME)
        trials[frozen.number] = Trial(
            number=frozen.number,
            candidate=Candidate.model_validate(frozen.user_attrs[CANDIDATE]),
            outcome=Outcome.model_validate(outcome) if outcome else None,
            attempts=int(frozen.user_attrs.get(ATTEMPTS, 1)),
        )
    return trials


def running(trials: Mapping[int, Trial]) -> list[Trial]:
    """Trials without an outcome: in training now, or cut off by a crash."""
    return [trial for trial in trials.values() if trial.state is TrialState.RUNNING]


def _find_optuna_study(storage: BaseStorage, manifest: StudyManifest) -> int | None:
    try:
        return storage.get_study_id_from_name(manifest.study_id)
    except KeyError:
        return None


def _optuna_study(storage: BaseStorage, manifest: StudyManifest, folder: StudyFolder) -> int:
    known = _find_optuna_study(storage, manifest)
    if known is not None:
        return known
    if next(read_events(folder.ledger), None) is not None:
        # Beginning anew would train everything again, under numbers whose folders hold other trials' results.
        raise RecordsError(
            f"the trials of study {manifest.name} are not in its storage, though {folder.ledger} tells of some. "
            f"Put the database back, or point records.storage in {folder.given_yaml} to it"
        )
    directions = [
        StudyDirection.MAXIMIZE if objective.maximise else StudyDirection.MINIMIZE for objective in manifest.objectives
    ]
    return storage.create_new_study(directions, study_name=manifest.study_id)
