"""How a study shows itself while it runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from cbam_search.records.events import StudyClosed
from cbam_search.records.ledger import Listener
from cbam_search.records.study_records import StudyRecords
from cbam_search.running.cluster import TrialResources
from cbam_search.study.study import Study


class Screen(Protocol):
    """A front end: told what the reader should know, and shown the study while it runs."""

    @property
    def reader_is_gone(self) -> bool:
        """Whether nobody can see any more what is shown: the study then stops, as by Ctrl-C."""
        ...

    def note(self, message: str) -> None: ...

    def display(self, records: StudyRecords, resources: TrialResources) -> AbstractContextManager[Listener]: ...

    def closed(self, event: StudyClosed, study: Study) -> None: ...


class Silence:
    """Shows nothing; the default in Python."""

    reader_is_gone = False

    def note(self, message: str) -> None:
        """Nothing."""

    def display(self, records: StudyRecords, resources: TrialResources) -> AbstractContextManager[Listener]:  # noqa: ARG002
        return nullcontext(lambda _event: None)

    def closed(self, event: StudyClosed, study: Study) -> None:
        """Nothing."""
