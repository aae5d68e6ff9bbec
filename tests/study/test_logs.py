"""Reading what happened in a study, and following it while it goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import driver_process, put_lease, write_lease
from synthetic_study import STARTED_SECONDS, SyntheticStudy, random_candidates, synthetic_study

from cbam_search.errors import RecordsError, UserError
from cbam_search.records.driver import LeaseRecord
from cbam_search.records.lease import take_lease
from cbam_search.records.trials import TrialState
from cbam_search.study.logs import follow_log, log_lines

PROPOSALS = random_candidates(24)


@pytest.fixture
def study(tmp_path: Path) -> SyntheticStudy:
    made = synthetic_study(tmp_path)
    made.open()
    return made


def texts(study: SyntheticStudy, trial: int | None = None) -> list[str]:
    return [line.text for line in log_lines(study.folder, trial=trial)]


def followed(study: SyntheticStudy, *steps: Callable[[], object], trial: int | None = None) -> tuple[list[str], list[str]]:
    """Lines and notes; each step happens in one of the pauses, and a pause without a step fails."""
    notes: list[str] = []
    remaining = iter(steps)
    lines = follow_log(study.folder, notes.append, trial=trial, sleep=lambda _: next(remaining)())
    found = [line.text for line in lines]
    assert next(remaining, None) is None
    return found, notes


def nothing() -> None: ...


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def test_a_line_has_its_time(study: SyntheticStudy) -> None:
    line = next(iter(log_lines(study.folder)))
    assert str(line) == f"{stamp(STARTED_SECONDS + 0.5)}  opened: 24 trainings of 8 epochs"


def test_the_chatter_of_ray_and_optuna_stands_at_its_time(study: SyntheticStudy) -> None:
    study.train(0, PROPOSALS[0], 0.9)
    at = stamp(STARTED_SECONDS + 2.0)
    study.folder.log.write_text(
        f"{at},100 WARNING ray.tune: no room\n  on that node\n{at},200 INFO optuna: a study\n{at},300 half a li"
    )
    assert [text for text in texts(study) if not text.startswith("front")] == [
        "opened: 24 trainings of 8 epochs",
        f"trial 0 starts - {PROPOSALS[0].label}",
        "study.log: WARNING ray.tune: no room",
        "study.log:   on that node",
        "study.log: INFO optuna: a study",
        f"trial 0 complete: accuracy 90.00 %, 0.0008 GFLOPs - {PROPOSALS[0].label}, after 8 epochs (0:03)",
    ]


def test_the_stamps_are_those_of_the_drivers_log(study: SyntheticStudy) -> None:
    handler = logging.FileHandler(study.folder.log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = time.time()
    handler.handle(logging.LogRecord("ray", logging.WARNING, "", 0, "words", None, None))
    handler.close()
    line = list(log_lines(study.folder))[-1]
    assert line.text == "study.log: WARNING ray: words"
    assert before - 0.01 <= line.time_seconds <= time.time()


def test_a_failed_trial_shows_its_traceback(study: SyntheticStudy) -> None:
    study.folder.log.write_text("2023-11-14 00:00:00,000 INFO ray: not of this trial\n")
    study.start(0, PROPOSALS[0])
    study.finish(0, TrialState.FAILED, epochs=0)
    study.start(1, PROPOSALS[1])
    assert all("Traceback" not in text for text in texts(study, trial=0))
    name = f"{PROPOSALS[0].digest[:16]}-s0"
    path = study.folder.error(name)
    path.parent.mkdir(parents=True)
    path.write_text("Traceback (most recent call last):\nValueError: no\n")
    first, last = texts(study, trial=0)
    assert first.startswith("trial 0 starts")
    assert last.startswith("trial 0 failed")
    assert last.endswith(f"\n{path}:\nTraceback (most recent call last):\nValueError: no")
    assert all("Traceback" not in text for text in texts(study))


def test_a_trial_that_is_not_there_is_the_readers_business(study: SyntheticStudy) -> None:
    with pytest.raises(UserError, match="no trial 3: it has none yet"):
        texts(study, trial=3)
    study.train(0, PROPOSALS[0], 0.9)
    study.close()
    with pytest.raises(UserError, match="no trial 3: its trials are numbered from 0 to 0"):
        followed(study, nothing, trial=3)


def test_a_damaged_ledger_is_named(study: SyntheticStudy) -> None:
    with study.folder.ledger.open("a") as file:
        file.write("no event\n")
    with pytest.raises(RecordsError, match="line 2 is not an event"):
        texts(study)


def test_following_goes_on_until_the_study_is_closed(study: SyntheticStudy) -> None:
    record = LeaseRecord(
        host="h", process=1, process_started=None, since_seconds=STARTED_SECONDS, heartbeat_seconds=time.time()
    )
    put_lease(study.folder, 1, record)
    found, notes = followed(
        study,
        lambda: study.start(0, PROPOSALS[0]),
        lambda: study.folder.log.write_text("2023-11-14 00:00:00,000 INFO ray: words\n"),
        nothing,
        lambda: study.finish(0),
        study.close,
        nothing,
    )
    assert [text.partition(" - ")[0].partition(":")[0].partition(",")[0] for text in found] == [
        "opened",
        "trial 0 starts",
        "study.log",
        "trial 0 complete",
        "front of 1",
        "closed (trials)",
    ]
    assert notes == []


def test_following_goes_on_across_a_kill_and_a_resume(study: SyntheticStudy) -> None:
    with driver_process(study.folder) as process:
        process.kill()
        process.wait()
    record = LeaseRecord(host="h", process=1, process_started=None, since_seconds=0.0, heartbeat_seconds=time.time())
    found, notes = followed(
        study,
        nothing,
        nothing,
        lambda: put_lease(study.folder, 2, record),
        lambda: study.open(resumed=True),
        study.close,
        nothing,
    )
    assert found == [
        "opened: 24 trainings of 8 epochs",
        "resumed, with 0 of 24 trainings finished",
        "closed (trials): closed: trials",
    ]
    assert notes == ["nobody drives study digits now; waiting for a resume. Ctrl-C ends this"]


def test_a_closed_study_that_is_being_resumed_is_followed_on(study: SyntheticStudy) -> None:
    study.close("interrupted")
    resumed = SyntheticStudy(study.folder, {}, study.now_seconds + 100.0)
    record = LeaseRecord(
        host="h", process=1, process_started=None, since_seconds=study.now_seconds + 50.0, heartbeat_seconds=time.time()
    )
    put_lease(study.folder, 1, record)
    found, _ = followed(study, nothing, lambda: resumed.open(resumed=True), resumed.close, nothing)
    assert found[-2:] == ["resumed, with 0 of 24 trainings finished", "closed (trials): closed: trials"]


def test_a_trial_is_followed_to_its_end(study: SyntheticStudy) -> None:
    write_lease(study.folder, heard_seconds_ago=0.0)
    found, _ = followed(
        study,
        lambda: study.start(0, PROPOSALS[0]),
        *(lambda epoch=epoch: study.epoch(0, epoch, 0.5) for epoch in range(1, 3)),
        lambda: study.finish(0),
        nothing,
        trial=0,
    )
    assert [text.partition(":")[0].partition(" - ")[0] for text in found] == [
        "trial 0 starts",
        "trial 0 epoch 1 of 8",
        "trial 0 epoch 2 of 8",
        "trial 0 complete",
        "trial 0 is on the front",
    ]


def test_following_a_closed_study_prints_it_and_ends(study: SyntheticStudy) -> None:
    take_lease(study.folder).release("trials")
    study.train(0, PROPOSALS[0], 0.9)
    study.close()
    found, notes = followed(study, nothing)
    assert (found, notes) == (texts(study), [])
    assert len(found) == 5
