"""A storage of trials whose database may be away for a while: what was asked of it is asked again until it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

OUTAGE_SECONDS_AT_MOST = 120.0
ASK_AGAIN_SECONDS = 1.0
_CALLS = (
    "create_new_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "_create_new_trial",
    "_set_trial_param",
    "_get_trials",
    "get_all_trials",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "set_trial_state_values",
    "set_trial_user_attr",
    "set_trial_system_attr",
)
"""What Optuna's cache, and we, ask of the database."""
_log = logging.getLogger(__name__)


class PatientStorage(RDBStorage):
    """Optuna's storage, which asks again for up to OUTAGE_SECONDS_AT_MOST once `be_patient` was called.

    A write that arrived although its answer was lost is made again, with the same values. Only a new trial may be there twice
    then: the one nobody knows of stays without a candidate, and is settled as what a killed driver leaves.
    """

    _unless: Callable[[], bool] | None = None
    _asking = False
    _told = False

    def be_patient(self, unless: Callable[[], bool]) -> None:
        """From now on. unless: says that nothing more is to be waited for."""
        self._unless = unless

    def ask(self, call: Callable[[], Any]) -> Any:
        """The answer to `call`; raises what it raises where the database is there, or away for too long."""
        if self._unless is None or self._asking:
            return call()
        self._asking, since = True, 0.0
        try:
            while True:
                try:
                    answer = call()
                except (StorageInternalError, SQLAlchemyError) as error:
                    since = since or time.monotonic()
                    if not is_away(error) or self._unless() or time.monotonic() - since > OUTAGE_SECONDS_AT_MOST:
                        raise
                    if not self._told:
                        self._told = True
                        _log.warning("the study's storage of trials is away; waiting for it")
                    time.sleep(ASK_AGAIN_SECONDS)
                    continue
                except UpdateFinishedTrialError:
                    if not since:
                        raise
                    answer = True  # it had arrived
                if self._told:
                    self._told = False
                    _log.warning("the study's storage of trials is back")
                return answer
        finally:
            self._asking = False


def is_away(error: BaseException) -> bool:
    """Whether the database did not answer, or is locked by someone else: asked later it may."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if not isinstance(cause, DBAPIError):
        return False
    text = str(cause.orig).lower()
    if "sqlite" in type(cause.orig).__module__:
        return "locked" in text
    return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)


def _patiently(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @wraps(method)
    def ask(self: PatientStorage, *arguments: Any, **options: Any) -> Any:
        return self.ask(lambda: method(self, *arguments, **options))

    return ask


for _name in _CALLS:
    setattr(PatientStorage, _name, _patiently(_name))
