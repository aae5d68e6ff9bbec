"""A study's trials in the Optuna storage: what is kept of each beside Optuna's own, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from cbam_search.errors import RecordsError
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import Candidate, Outcome, Trial, evaluation_id

CANDIDATE = "candidate"
OUTCOME = "outcome"
ATTEMPTS = "attempts"
_DIGEST = "digest"
UNFINISHED = (OptunaState.RUNNING, OptunaState.WAITING)
READ_ONE_BY_ONE = 100
"""More trials than this are read all at once."""


def read_trials(storage: BaseStorage, manifest: StudyManifest, known: Mapping[int, Trial] | None = None) -> dict[int, Trial]:
    """Every trial that has a candidate, by number; none where no driver has begun the study yet.

    known: trials read elsewhere, whose candidates are taken where they are the same, as reading them takes time.
    """
    study_id = _find_optuna_study(storage, manifest)
    if study_id is None:
        return {}
    known = known or {}
    frozen_trials = storage.get_all_trials(study_id, deepcopy=False)
    return {
        frozen.number: _read_trial(frozen, manifest, known.get(frozen.number))
        for frozen in frozen_trials
        if CANDIDATE in frozen.user_attrs
    }


def read_doubtful_trials(
    storage: BaseStorage, study_id: int, manifest: StudyManifest, known: Mapping[int, Trial]
) -> dict[int, Trial]:
    """The same from trials that the ledger tells of, with a look into the storage only where it may know better.

    A trial's end stands in the ledger before Optuna is told of it. So the storage may know better of trials that have not
    ended in either, of numbers that the ledger does not have, and of those that it does not have itself.
    """
    unfinished = {frozen.number: frozen for frozen in storage.get_all_trials(study_id, deepcopy=False, states=UNFINISHED)}
    numbers = range(_last_number(storage, study_id, max(known, default=-1)) + 1)
    unsure = [number for number in numbers if number not in unfinished and (number not in known or not known[number].outcome)]
    if len(unsure) > READ_ONE_BY_ONE:
        return read_trials(storage, manifest, known)
    doubtful = unfinished | {number: _frozen(storage, study_id, number) for number in unsure}
    found = {}
    for number in numbers:
        if number in doubtful and CANDIDATE in doubtful[number].user_attrs:
            found[number] = _read_trial(doubtful[number], manifest, known.get(number))
        elif number not in doubtful:
            found[number] = _with_errors(known[number], manifest)
    return found


def _last_number(storage: BaseStorage, study_id: int, guess: int) -> int:
    """Of the trials in the storage, which have no gaps; -1 for none."""
    last = guess
    while last >= 0 and not _exists(storage, study_id, last):
        last -= 1
    while _exists(storage, study_id, last + 1):
        last += 1
    return last


def _exists(storage: BaseStorage, study_id: int, number: int) -> bool:
    try:
        storage.get_trial_id_from_study_id_trial_number(study_id, number)
    except KeyError:
        return False
    return True


def _frozen(storage: BaseStorage, study_id: int, number: int) -> FrozenTrial:
    return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study_id, number))


def _with_errors(trial: Trial, manifest: StudyManifest) -> Trial:
    assert trial.outcome is not None
    outcome = trial.outcome.with_errors(manifest.data.validation)
    return trial if outcome is trial.outcome else replace(trial, outcome=outcome)


def _read_trial(frozen: FrozenTrial, manifest: StudyManifest, known: Trial | None) -> Trial:
    stored = dict(frozen.user_attrs[CANDIDATE])
    digest = stored.pop(_DIGEST, None)
    if known is not None and digest == known.candidate.digest:
        candidate = known.candidate
    else:
        candidate = Candidate.model_validate(stored)
        if digest is not None:
            candidate.architecture.trust_digest(digest)
    given = frozen.user_attrs.get(OUTCOME)
    attempts = int(frozen.user_attrs.get(ATTEMPTS, 1))
    return Trial(
        number=frozen.number,
        candidate=candidate,
        outcome=Outcome.model_validate(given).with_errors(manifest.data.validation) if given else None,
        attempts=attempts,
        evaluations=(evaluation_id(candidate.digest, manifest.seed),) if attempts else (),
    )


def stored_candidate(candidate: Candidate) -> dict[str, Any]:
    """As the storage keeps it: with its digest, which takes time to work out."""
    return {**candidate.model_dump(mode="json"), _DIGEST: candidate.digest}


def _find_optuna_study(storage: BaseStorage, manifest: StudyManifest) -> int | None:
    try:
        return storage.get_study_id_from_name(manifest.study_id)
    except KeyError:
        return None


def optuna_study_of(storage: BaseStorage, manifest: StudyManifest, folder: StudyFolder) -> int:
    """Its id, made where the study is new; raises RecordsError where the ledger tells of trials that the storage has not."""
    known = _find_optuna_study(storage, manifest)
    if known is not None:
        return known
    if next(read_events(folder.ledger), None) is not None:
        # Beginning anew would train everything again, under numbers whose folders hold other trials' results.
        raise trials_lost(manifest, folder)
    directions = [
        StudyDirection.MAXIMIZE if objective.maximise else StudyDirection.MINIMIZE for objective in manifest.objectives
    ]
    return storage.create_new_study(directions, study_name=manifest.study_id)


def trials_lost(manifest: StudyManifest, folder: StudyFolder) -> RecordsError:
    """What to raise where the storage lacks trials that the ledger tells of."""
    return RecordsError(
        f"the trials of study {manifest.name} are not in its storage, though {folder.ledger} tells of some. "
        f"Put the database back, or point records.storage in {folder.given_yaml} to it"
    )
