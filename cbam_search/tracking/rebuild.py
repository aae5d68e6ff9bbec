"""Making MLflow's view of a study anew, from its records alone."""

from __future__ import annotations

from cbam_search.errors import RecordsError, UserError
from cbam_search.records.folder import StudyFolder
from cbam_search.tracking.address import problem_of
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.cursor import Cursor
from cbam_search.tracking.mlflow_settings import temporary_mlflow_settings


def rebuild(folder: StudyFolder, config: TrackingConfig) -> Cursor:
    """Write the whole study to MLflow: what is there already does not come twice, and deleted runs come back.

    Works whether or not `tracking.mlflow` is on. Raises StudyBusyError while a driver has the study, RecordsError for a
    damaged ledger, and UserError when MLflow cannot be reached.
    """
    lock = folder.lock()
    try:
        with temporary_mlflow_settings():
            from cbam_search.tracking.session import Session

            session = Session(folder, config, anew=True)
            while session.advance():
                continue
            session.publish_front()
            return session.cursor
    except (RecordsError, UserError):
        raise
    except Exception as error:
        raise UserError(f"MLflow did not accept the study: {problem_of(error)}") from None
    finally:
        lock.release()
