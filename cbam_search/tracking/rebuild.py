"""Making MLflow's view of a study anew, from its records alone."""

from __future__ import annotations

from collections.abc import Callable

from cbam_search.errors import RecordsError, UserError
from cbam_search.records.folder import StudyFolder
from cbam_search.safe_text import printable
from cbam_search.tracking.address import problem_of, with_variables
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.contact import require_answer
from cbam_search.tracking.cursor import Cursor
from cbam_search.tracking.mlflow_settings import temporary_mlflow_settings


def rebuild(folder: StudyFolder, config: TrackingConfig, note: Callable[[str], None] = lambda _: None) -> Cursor:
    """Write the whole study to MLflow: what is there already does not come twice, and deleted runs come back.

    note: told where the store was found to have moved. Works whether or not `tracking.mlflow` is on.

    Raises StudyBusyError while a driver has the study, RecordsError for a
    damaged ledger, and UserError when MLflow cannot be reached.
    """
    try:
        require_answer(with_variables(config.uri))
    except UserError as error:
        raise UserError(f"MLflow cannot be reached: {error}. Nothing is lost: the same command sends the study later") from None
    lock = folder.lock()
    try:
        with temporary_mlflow_settings():
            from cbam_search.tracking.session import Session

            session = Session(folder, config, anew=True)
            while session.advance():
                continue
            session.publish_front()
            if moved := session.store.artifacts_moved_to:
                note(f"MLflow's store had moved, and leads to its artifacts again: they are in {printable(moved)}")
            return session.cursor
    except (RecordsError, UserError):
        raise
    except Exception as error:
        raise UserError(f"MLflow did not accept the study: {problem_of(error)}") from None
    finally:
        lock.release()
