"""Making MLflow's view of a study anew, from its records alone."""

from __future__ import annotations

from cbam_search.errors import RecordsError, UserError
from cbam_search.records.folder import StudyFolder
from cbam_search.tracking.address import problem_in_words
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.cursor import Cursor
from cbam_search.tracking.manners import good_manners


def rebuild(folder: StudyFolder, config: TrackingConfig) -> Cursor:
    """Write the whole study to MLflow, whatever is there already: nothing comes twice, and deleted runs come back.

    Works whether or not `tracking.mlflow` is on. Raises StudyBusyError while a driver has the study, RecordsError for a
    damaged ledger, and UserError when MLflow cannot be reached.
    """
    lock = folder.lock()
    try:
        with good_manners():
            from cbam_search.tracking.session import Session

            session = Session(folder, config, anew=True)
            while session.advance():
                continue
            session.publish_front()
            return session.cursor
    except (RecordsError, UserError):
        raise
    except Exception as error:
        raise UserError(f"MLflow did not take the study: {problem_in_words(error, config.uri)}") from None
    finally:
        lock.release()
