"""Asking a driver to stop: one that lives, one that was killed, one that is silent, none; and waits that end early."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import driver_process, write_lease
from synthetic_study import SyntheticStudy, random_candidates, synthetic_study

from cbam_search.records.driver import driver_of, stop_file
from cbam_search.records.lease import take_lease
from cbam_search.study.stop import stop_study

PROPOSALS = random_candidates(24)


@pytest.fixture
def study(tmp_path: Path) -> SyntheticStudy:
    made = synthetic_study(tmp_path)
    made.open()
    return made


def stop(study: SyntheticStudy, sleep: Callable[[float], None] | None = None, timeout: float | None = None) -> tuple[bool, str]:
    notes: list[str] = []
    given = {} if sleep is None else {"sleep": sleep}
    ended = stop_study(study.folder, notes.append, timeout_seconds=timeout, **given)
    return ended, "\n".join(notes)


def test_a_driver_that_lives_stops_and_is_waited_for(study: SyntheticStudy) -> None:
    with driver_process(study.folder) as process:
        # As a driver that has begun: with events after its lease.
        study.now_seconds = driver_of(study.folder).record.since_seconds + 1.0  # type: ignore[union-attr]
        study.start(0, PROPOSALS[0])
        study.epoch(0, 1, 0.5)
        ended, said = stop(study)
        assert process.wait(10) == 0
    assert ended
    assert f"process {process.pid} to stop study digits; the epochs under way finish first (trial 0 at epoch 1 of 8)" in said
    assert "study digits: interrupted" in said
    assert "cbam-search resume" in said


@pytest.mark.parametrize("reason", ["interrupted", "trials"])
def test_where_nobody_drives_there_is_nothing_to_stop(study: SyntheticStudy, reason: str) -> None:
    take_lease(study.folder).release(reason)
    study.close(reason)
    ended, said = stop(study)
    assert ended
    assert "nobody drives study digits: " in said
    assert "There is nothing to stop" in said
    assert ("cbam-search resume" in said) == (reason == "interrupted")
    assert not stop_file(study.folder, 1).exists()


def test_a_study_without_a_lease(study: SyntheticStudy) -> None:
    ended, said = stop(study)
    assert ended
    assert "as far as its folder tells" in said
    assert not study.folder.lease.exists()


def test_a_killed_driver_is_not_waited_for(study: SyntheticStudy) -> None:
    with driver_process(study.folder) as process:
        process.kill()
        process.wait()
    ended, said = stop(study)
    assert ended
    assert f"its driver ({driver_of(study.folder).record.name}) was killed" in said  # type: ignore[union-attr]
    assert "cbam-search resume" in said


def test_a_driver_that_is_killed_while_it_is_waited_for(study: SyntheticStudy) -> None:
    with driver_process(study.folder) as process:
        subprocess.run(["kill", "-STOP", str(process.pid)], check=True)

        def kill(_: float) -> None:
            process.kill()
            process.wait()

        ended, said = stop(study, sleep=kill)
    assert ended
    assert "study digits: interrupted: its driver" in said


def test_a_silent_machine_is_asked_and_not_waited_for(study: SyntheticStudy) -> None:
    write_lease(study.folder, heard_seconds_ago=700.0)
    ended, said = stop(study)
    assert ended
    assert "far-away, process 4711) was last heard of at" in said
    assert "cbam-search resume" in said
    assert stop_file(study.folder, 1).exists()


def test_a_wait_ends_in_time_and_the_request_stands(study: SyntheticStudy) -> None:
    write_lease(study.folder, heard_seconds_ago=0.0)
    ended, said = stop(study, sleep=lambda _: None, timeout=150.0)
    assert not ended
    assert "far-away, process 4711 drives it still after 2:30. The request stands" in said
    assert said.count("waiting for far-away, process 4711, last heard of at") == 2
    assert stop_file(study.folder, 1).exists()


def test_ctrl_c_ends_the_wait_and_the_request_stands(study: SyntheticStudy) -> None:
    write_lease(study.folder, heard_seconds_ago=0.0)
    notes: list[str] = []

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_study(study.folder, notes.append, sleep=interrupt)
    assert "The request stands" in notes[-1]
    assert stop_file(study.folder, 1).exists()


def test_a_driver_that_follows_is_not_waited_for(study: SyntheticStudy) -> None:
    record = write_lease(study.folder, heard_seconds_ago=0.0)

    def taken_over(_: float) -> None:
        write_lease(study.folder, heard_seconds_ago=0.0, generation=2)

    ended, said = stop(study, sleep=taken_over)
    assert ended
    assert record.name in said
    assert not stop_file(study.folder, 2).exists()


def test_a_study_whose_ledger_is_damaged_can_be_stopped(study: SyntheticStudy) -> None:
    with study.folder.ledger.open("a") as file:
        file.write("no event\n")
    with driver_process(study.folder) as process:
        ended, _ = stop(study)
        assert process.wait(10) == 0
    assert ended
