"""How long a study was driven, all its sessions together."""

from __future__ import annotations

from cbam_search.records.events import Event, StudyClosed, StudyExtended, StudyOpened


class TimeSpent:
    """Follows a study's events in order. last_event_seconds: when a driver in charge wrote its last one, since 1970."""

    def __init__(self) -> None:
        self.last_event_seconds = 0.0
        self._closed_sessions_seconds = 0.0
        self._opened_seconds: float | None = None

    def add(self, event: Event) -> None:
        """One more event."""
        if isinstance(event, StudyOpened):
            # A driver that was killed closed nothing: its session ended with its last event.
            self._end_session(self.last_event_seconds)
            self._opened_seconds = event.time_seconds
        elif isinstance(event, StudyClosed):
            self._end_session(event.time_seconds)
        if not isinstance(event, StudyExtended):  # written before the driver that goes on takes charge
            self.last_event_seconds = event.time_seconds

    def seconds(self, now_seconds: float) -> float:
        """Of wall-clock while a driver was in charge, up to now."""
        open_seconds = 0.0 if self._opened_seconds is None else max(0.0, now_seconds - self._opened_seconds)
        return self._closed_sessions_seconds + open_seconds

    def _end_session(self, time_seconds: float) -> None:
        if self._opened_seconds is not None:
            self._closed_sessions_seconds += max(0.0, time_seconds - self._opened_seconds)
            self._opened_seconds = None
