"""What the commands print of a study: while it runs, and at its end."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import TextIO, cast

from rich.console import Console

from cbam_search.cli.output import SteadyOutput
from cbam_search.cli.say import say
from cbam_search.records.events import StudyClosed
from cbam_search.records.ledger import Listener
from cbam_search.records.study_records import StudyRecords
from cbam_search.report.terminal.next_commands import closing_sentence, next_commands
from cbam_search.report.terminal.progress import Progress
from cbam_search.report.terminal.study_table import print_study_table
from cbam_search.running.cluster import TrialResources
from cbam_search.safe_text import presentable
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.study.study import Study
from cbam_search.tracking.cursor import MLFLOW_UI, read_cursor


class TerminalScreen:
    """The terminal: a live display there, plain lines elsewhere; at the end the front and what to type next."""

    def __init__(self) -> None:
        self._output = SteadyOutput(sys.stdout)
        self._console = Console(file=cast("TextIO", self._output))

    @property
    def reader_is_gone(self) -> bool:
        return self._output.closed_by_reader

    def note(self, message: str) -> None:
        self._console.print(presentable(message), markup=False, highlight=False, soft_wrap=True)

    def display(self, records: StudyRecords, resources: TrialResources) -> AbstractContextManager[Listener]:
        return Progress(records.manifest, records.view, console=self._console, concurrent=resources.concurrent)

    def closed(self, event: StudyClosed, study: Study) -> None:
        """Print how the study ended, its front and the next commands."""
        print_front(study, self._console)
        self.note(closing_sentence(event, study.name))
        tracking = study.config.tracking
        uri = tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
        cursor = read_cursor(study.folder.mlflow_state)
        for line in next_commands(
            study.folder.run,
            study.front,
            closed=event,
            mlflow=tracking.mlflow,
            tracking_uri=uri,
            page=cursor.page if cursor else MLFLOW_UI,
            allow_code=isinstance(study.config.backbone, OwnBackboneConfig),
        ):
            self.note(line)


class _Pipe(Console):
    """Says that its reader is gone as `print` does, for the command to end by; Rich would end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_front(study: Study, console: Console | None = None) -> None:
    """The front with the published designs beside it."""
    print_study_table(console or _Pipe(), study.manifest, study.trials.values(), study.front)
    if not study.trials:
        say("nothing was trained yet")
