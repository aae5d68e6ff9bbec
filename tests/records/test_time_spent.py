"""How long a study was driven: all sessions, those that were killed too, and none of the time between."""

from __future__ import annotations

import pytest

from cbam_search.records.events import EpochFinished, StudyClosed, StudyExtended, StudyOpened
from cbam_search.records.time_spent import TimeSpent


def opened(at: float) -> StudyOpened:
    return StudyOpened(resumed=at > 0, time_seconds=at)


def closed(at: float) -> StudyClosed:
    return StudyClosed(reason="interrupted", message="", time_seconds=at)


def epoch(at: float) -> EpochFinished:
    return EpochFinished(trial=0, attempt=1, epoch=1, metrics={}, seconds=1.0, time_seconds=at)


def extended(at: float) -> StudyExtended:
    return StudyExtended(trials=9, hours=None, time_seconds=at)


def spent(*events: StudyOpened | StudyClosed | StudyExtended | EpochFinished) -> TimeSpent:
    time = TimeSpent()
    for event in events:
        time.add(event)
    return time


def test_before_the_first_session_nothing_is_spent() -> None:
    assert TimeSpent().seconds(1e9) == 0.0
    assert spent(extended(5)).seconds(1e9) == 0.0


def test_a_session_that_is_open_counts_up_to_now() -> None:
    time = spent(opened(100), epoch(130))
    assert time.seconds(150) == 50.0
    assert time.last_event_seconds == 130.0


def test_sessions_add_up_and_the_time_between_does_not_count() -> None:
    time = spent(opened(100), closed(130), opened(1000), epoch(1010), closed(1020))
    assert time.seconds(5000) == 50.0


def test_a_session_that_was_killed_ended_with_its_last_event() -> None:
    assert spent(opened(100), epoch(130), opened(1000)).seconds(1007) == 37.0
    assert spent(opened(100), opened(1000)).seconds(1007) == 7.0


@pytest.mark.parametrize("last", [epoch(130), closed(130)])
def test_an_extension_is_noted_before_its_session_and_is_no_sign_that_the_last_one_lived(
    last: EpochFinished | StudyClosed,
) -> None:
    time = spent(opened(100), last, extended(990), opened(1000))
    assert time.seconds(1007) == 37.0


def test_events_that_come_twice_change_nothing() -> None:
    events = (opened(100), epoch(130), opened(1000), epoch(1010), closed(1020))
    twice = [event for event in events for _ in range(2)]
    assert spent(*twice).seconds(5000) == spent(*events).seconds(5000) == 50.0


def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    time = spent(opened(100), closed(130), opened(1000), epoch(900))
    assert time.seconds(950) == 30.0
    time.add(closed(940))
    assert time.seconds(950) == 30.0
