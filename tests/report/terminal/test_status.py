"""What `status` prints."""

from __future__ import annotations

import re

import pytest

from cbam_search.records.driver import Driver, LeaseRecord, Standing, StopRequest
from cbam_search.records.status import LastError, RunningTrial, StudyState, StudyStatus, UnreadableStudy
from cbam_search.records.trials import TrialState
from cbam_search.report.terminal.status import status_text, statuses_text

NOW = 1_700_000_000.0


def driver(standing: Standing = Standing.HELD, **update: object) -> Driver:
    record = LeaseRecord(host="host7", process=123, process_started=1, since_seconds=NOW - 100.0, heartbeat_seconds=NOW - 4.0)
    return Driver(generation=2, record=record.model_copy(update=update), standing=standing)


def status(state: StudyState = StudyState.RUNNING, **update: object) -> StudyStatus:
    known = StudyStatus(
        study="digits",
        run="digits",
        folder="/studies/digits",
        state=state,
        message=None if state is StudyState.RUNNING else "stopped by Ctrl-C",
        time_seconds=NOW,
        created_seconds=NOW - 200.0,
        driver=driver(),
        trials_done=12,
        trials_allowed=24,
        states={TrialState.STOPPED: 2, TrialState.COMPLETE: 10},
        skipped={TrialState.DUPLICATE: 1},
        running=(RunningTrial(trial=12, label="cifar_resnet8+se", epoch=3, accuracy=0.912),),
        cut_off=0,
        epochs=8,
        seconds_left=252.0,
        driven_seconds=3723.0,
        hours_allowed=2.0,
        front=(1, 4, 7),
        hypervolume=0.87621,
        best_accuracy=0.972,
        last_error=LastError(message="out of\n  memory", trial=7, time_seconds=NOW),
        needs_allow_code=False,
    )
    return known.model_copy(update=update)


def test_a_running_study() -> None:
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", status_text(status()))
    assert text.splitlines() == [
        "study digits: running",
        "  driver      host7, process 123, since TIME",
        "              last sign of life 0:04 ago",
        "  trainings   12 of 24 finished, 1 running: 10 complete, 2 stopped; skipped: 1 duplicate",
        "  time        driven for 1:02:03 of at most 2:00:00, about 4:12 left",
        "  running     trial 12: epoch 3 of 8, accuracy 91.20 % - cifar_resnet8+se",
        "  front       3 networks, hypervolume 0.8762, best accuracy 97.20 %",
        "  last error  trial 7: out of memory (TIME)",
        "",
        "cbam-search logs digits --follow   # what happens, as it happens",
        "cbam-search stop digits            # stop it; what is trained is kept",
        "cbam-search logs digits --trial 7  # all about the training that failed last",
        "cbam-search front digits           # the front so far",
    ]


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (StudyState.INTERRUPTED, "cbam-search resume 'my study' --allow-code"),
        (StudyState.FAILED, "cbam-search resume 'my study' --allow-code"),
        (StudyState.COMPLETE, "cbam-search export 'my study' --output best --allow-code"),
    ],
)
def test_what_to_type_next_follows_the_state(state: StudyState, command: str) -> None:
    text = status_text(status(state, run="my study", needs_allow_code=True, last_error=None))
    assert text.startswith(f"study digits: {state.value}: stopped by Ctrl-C\n")
    assert command in text
    assert "cbam-search stop" not in text
    assert "left" not in text


def test_a_study_that_is_ending_is_not_to_be_resumed_yet() -> None:
    ending = status(message="it is ending: stopped by Ctrl-C", running=(), seconds_left=None)
    text = status_text(ending)
    assert text.startswith("study digits: running: it is ending: stopped by Ctrl-C\n")
    assert "cbam-search status digits" in text
    for refused in ("cbam-search resume", "cbam-search stop", " left"):
        assert refused not in text
    assert statuses_text([ending]).splitlines()[-1] == "  digits: it is ending: stopped by Ctrl-C"


@pytest.mark.parametrize("state", [StudyState.INTERRUPTED, StudyState.FAILED])
def test_a_study_with_a_damaged_lease_is_not_to_be_resumed_yet(state: StudyState) -> None:
    damaged = status(state, driver=None, driver_problem="lease/1.json is damaged")
    text = status_text(damaged)
    assert "cbam-search resume" not in text
    assert "cbam-search status digits" in text
    assert statuses_text([damaged]).splitlines()[-1] == "  digits: lease/1.json is damaged"


def test_what_a_trial_waits_for_and_why_its_worker_died() -> None:
    trial = RunningTrial(trial=1, label="resnet18", epoch=2, accuracy=None, attempt=2, died="killed", waits_for="1 CPU")
    lines = status_text(status(running=(trial,))).splitlines()
    first = lines.index("  running     trial 1: epoch 2 of 8 - resnet18")
    assert [line.strip() for line in lines[first + 1 : first + 3]] == ["waits for 1 CPU", "attempt 2; its worker died: killed"]


def test_what_is_known_of_a_driver() -> None:
    assert "that process is gone" in status_text(status(driver=driver(Standing.DEAD)))
    assert "by its own clock" in status_text(status(driver=driver(heartbeat_seconds=NOW + 3600.0)))
    assert "none since" in status_text(status(driver=driver(Standing.RELEASED, released_seconds=NOW)))
    stop = StopRequest(host="host8", process=5, process_started=None, time_seconds=NOW)
    asked = driver().model_copy(update={"stop": stop})
    assert "by host8, process 5" in status_text(status(driver=asked))
    assert "is damaged" in status_text(status(driver=None, driver_problem="lease/1.json is damaged"))


def test_a_study_that_has_nothing_yet() -> None:
    update = {"front": (), "hypervolume": None, "best_accuracy": None, "last_error": None, "seconds_left": None, "running": ()}
    text = status_text(status(**update))
    assert "front       empty so far" in text
    assert "estimating time left" in text
    assert "last error" not in text


def test_all_studies_have_a_line_each() -> None:
    other = UnreadableStudy(study="broken", folder="/studies/broken", problem="study.json cannot be read")
    head, first, last = statuses_text([status(), other]).splitlines()
    assert head.split() == ["study", "state", "trainings", "front", "best", "accuracy", "begun"]
    assert first.split()[:6] == ["digits", "running", "12/24", "3", "97.20", "%"]
    assert last == "  broken: study.json cannot be read"
    assert statuses_text([]) == ""
