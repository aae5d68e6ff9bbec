"""What can be refused before any image is read, which may take minutes."""

from __future__ import annotations

from cbam_search.errors import WeightsError
from cbam_search.running.cluster import resources_here
from cbam_search.safe_text import reason
from cbam_search.study.config import StudyConfig
from cbam_search.study.start_from import study_to_start_from
from cbam_search.tracking.old_store import refuse_folder_of_files


def check_beforehand(config: StudyConfig) -> None:
    """Raise UserError where a file or a study that is named is not there, MLflow would refuse its store, or this machine is too
    small for a trial.
    """
    for file in config.backbone.weights_files().values():
        try:
            file.open("rb").close()
        except OSError as error:
            raise WeightsError(f"{file}: these weights cannot be read: {reason(error, with_file=False)}") from None
    if (asked := config.search.warm_start) is not None:
        study_to_start_from(asked.run)
    refuse_folder_of_files(config.tracking)
    if config.resources.executor == "inline":
        resources_here(config.resources)
