"""A database that is away for a while is waited for, within limits."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError
from studies import new_folder

from cbam_search.errors import RecordsError
from cbam_search.records import patience, storage
from cbam_search.records.patience import PatientStorage, is_away
from cbam_search.records.storage import open_storage
from cbam_search.records.storage_errors import storage_errors


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PatientStorage:
    monkeypatch.setattr(storage, "LOCKED_SECONDS_AT_MOST", 0.05)
    monkeypatch.setattr(patience, "ASK_AGAIN_SECONDS", 0.05)
    found = open_storage(None, new_folder(tmp_path))
    assert isinstance(found, PatientStorage)
    return found


@pytest.fixture
def lock(opened: PatientStorage) -> Iterator[sqlite3.Connection]:
    """Another program that has the database to itself until it rolls back."""
    connection = sqlite3.connect(str(opened.engine.url.database), check_same_thread=False, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()


def new_study(opened: PatientStorage) -> int:
    return opened.create_new_study([StudyDirection.MAXIMIZE], study_name="study")


def test_a_lock_is_waited_for(opened: PatientStorage, lock: sqlite3.Connection, caplog: pytest.LogCaptureFixture) -> None:
    opened.be_patient(lambda: False)
    threading.Timer(0.5, lambda: lock.execute("ROLLBACK")).start()
    study = new_study(opened)
    assert opened.get_study_name_from_id(study) == "study"
    told = [record.message for record in caplog.records if record.name == patience.__name__]
    assert told == [
        "the study's storage of trials is away; waiting for it",
        "the study's storage of trials is back",
    ]


def test_not_before_a_study_runs(opened: PatientStorage, lock: sqlite3.Connection) -> None:
    with pytest.raises(RecordsError, match=r"of trials \(here\) .*another program has locked"), storage_errors("here"):
        new_study(opened)


def test_not_once_the_study_is_to_stop(opened: PatientStorage, lock: sqlite3.Connection) -> None:
    opened.be_patient(lambda: True)
    with pytest.raises(StorageInternalError):
        new_study(opened)


def test_not_for_ever(opened: PatientStorage, lock: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "OUTAGE_SECONDS_AT_MOST", 0.2)
    opened.be_patient(lambda: False)
    with pytest.raises(StorageInternalError):
        new_study(opened)


def test_an_end_that_arrived_although_its_answer_was_lost_is_no_error(
    opened: PatientStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = opened.create_new_trial(new_study(opened))
    opened.be_patient(lambda: False)
    calls = 0

    def lose_the_first_answer() -> bool:
        nonlocal calls
        calls += 1
        answer = opened.set_trial_state_values(trial, TrialState.COMPLETE, [1.0])
        if calls == 1:
            raise OperationalError("UPDATE", None, sqlite3.OperationalError("database is locked"))
        return answer

    assert opened.ask(lose_the_first_answer)
    assert calls == 2
    assert opened.get_trial(trial).values == [1.0]


@pytest.mark.parametrize("words", ["database or disk is full", "attempt to write a readonly database", "disk I/O error"])
def test_what_waiting_does_not_mend_is_not_waited_for(words: str) -> None:
    assert not is_away(OperationalError("UPDATE", None, sqlite3.OperationalError(words)))
