"""Where a study stands: complete, running, interrupted in all its ways, failed; also where nothing can be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from drivers import driver_process, put_lease, write_lease
from permissions import read_only, unprivileged
from synthetic_study import STARTED_SECONDS, SyntheticStudy, manifest, random_candidates, synthetic_study

from cbam_search.records.driver import LeaseRecord, Standing, lease_file, request_stop
from cbam_search.records.events import StudyExtended
from cbam_search.records.manifest import BudgetChange
from cbam_search.records.process import this_process
from cbam_search.records.status import StudyState, StudyStatus, UnreadableStudy
from cbam_search.records.trials import TrialState
from cbam_search.study.status import read_status, read_statuses

PROPOSALS = random_candidates(24)


@pytest.fixture
def study(tmp_path: Path) -> SyntheticStudy:
    return synthetic_study(tmp_path)


def drive(study: SyntheticStudy, *, since_seconds: float, **update: object) -> LeaseRecord:
    """This very process drives it, by a lease of that time."""
    record = LeaseRecord(**this_process().model_dump(), since_seconds=since_seconds, heartbeat_seconds=study.now_seconds)
    put_lease(study.folder, 1, record.model_copy(update=update))
    return record


def at(study: SyntheticStudy, seconds_later: float = 1.0) -> StudyStatus:
    return read_status(study.folder, clock=lambda: study.now_seconds + seconds_later)


def begin(study: SyntheticStudy) -> None:
    """Two trainings that ended, one that failed, a duplicate, and two under way."""
    study.open()
    study.train(0, PROPOSALS[0], 0.95)
    study.train(1, PROPOSALS[1], 0.96)
    study.start(2, PROPOSALS[2])
    study.epoch(2, 1, 0.5)
    study.finish(2, TrialState.FAILED, accuracy=0.5, epochs=1)
    study.skip(3, PROPOSALS[2], TrialState.DUPLICATE)
    study.start(4, PROPOSALS[4])
    study.start(5, PROPOSALS[5])
    study.epoch(4, 1, 0.5)
    study.epoch(4, 2, 0.6)


def test_a_study_that_is_driven_is_running(study: SyntheticStudy) -> None:
    drive(study, since_seconds=STARTED_SECONDS)
    begin(study)
    request_stop(study.folder, 1)
    status = at(study)
    assert (status.state, status.message, status.cut_off) == (StudyState.RUNNING, None, 0)
    assert status.driver is not None and status.driver.stop is not None
    assert (status.trials_done, status.trials_allowed) == (3, 24)
    assert status.states == {TrialState.COMPLETE: 2, TrialState.FAILED: 1}
    assert status.skipped == {TrialState.DUPLICATE: 1}
    assert [(trial.trial, trial.epoch, trial.accuracy) for trial in status.running] == [(4, 2, 0.6), (5, 0, None)]
    assert status.running[0].label == PROPOSALS[4].label
    assert status.best_accuracy == 0.96
    assert status.front == (0, 1)
    assert status.last_error is not None
    assert (status.last_error.trial, status.last_error.message) == (2, "failed on purpose")
    # 6 + 8 epochs of those under way, and 19 trainings of 17 / 3 epochs, two at a time, 0.4 s an epoch; 1 s has passed.
    assert status.seconds_left == pytest.approx((14 + 19 * 17 / 3) / 2 * 0.4 - 1.0)
    assert status.driven_seconds == pytest.approx(study.now_seconds + 1.0 - STARTED_SECONDS - 0.5)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("trials", StudyState.COMPLETE),
        ("hours", StudyState.COMPLETE),
        ("hypervolume", StudyState.COMPLETE),
        ("space_exhausted", StudyState.COMPLETE),
        ("interrupted", StudyState.INTERRUPTED),
        ("failed", StudyState.FAILED),
    ],
)
def test_a_closed_study_is_what_it_was_closed_as(study: SyntheticStudy, reason: str, state: StudyState) -> None:
    begin(study)
    study.close(reason)
    status = at(study)
    assert (status.state, status.message) == (state, f"closed: {reason}")
    assert (status.running, status.cut_off, status.seconds_left) == ((), 2, None)
    assert (status.last_error is not None and status.last_error.trial is None) == (reason == "failed")


@pytest.mark.parametrize(
    ("reason", "state", "message"),
    [
        ("trials", StudyState.COMPLETE, "closed: trials"),
        ("interrupted", StudyState.RUNNING, "it is ending: closed: interrupted"),
        ("failed", StudyState.RUNNING, "it is ending: closed: failed"),
    ],
)
def test_a_closed_study_whose_driver_still_uploads_can_be_resumed_by_nobody(
    study: SyntheticStudy, reason: str, state: StudyState, message: str
) -> None:
    drive(study, since_seconds=STARTED_SECONDS)
    begin(study)
    study.close(reason)
    status = at(study, 100.0)
    assert (status.state, status.message) == (state, message)
    assert status.is_ending == (state is StudyState.RUNNING)
    assert (status.running, status.cut_off, status.seconds_left) == ((), 2, None)
    assert status.driven_seconds == pytest.approx(study.now_seconds - STARTED_SECONDS - 0.5)
    drive(study, since_seconds=STARTED_SECONDS, released_seconds=study.now_seconds, ended=reason)
    assert not at(study).is_ending


def test_a_study_that_is_about_to_be_resumed_is_running_though_nothing_trains_yet(study: SyntheticStudy) -> None:
    begin(study)
    study.close("interrupted")
    drive(study, since_seconds=study.now_seconds + 0.5)
    status = at(study)
    assert (status.state, status.running, status.cut_off) == (StudyState.RUNNING, (), 2)


def test_a_killed_driver_leaves_its_study_interrupted(study: SyntheticStudy) -> None:
    with driver_process(study.folder) as process:
        begin(study)
        assert read_status(study.folder).state is StudyState.RUNNING
        process.kill()
        process.wait()
        status = read_status(study.folder)
    assert status.state is StudyState.INTERRUPTED
    assert status.message is not None and f"process {process.pid}) was killed" in status.message
    assert (status.running, status.cut_off) == ((), 2)


@pytest.mark.parametrize(
    ("heard_seconds_ago", "state", "standing"),
    [
        (1.0, StudyState.RUNNING, Standing.HELD),
        (700.0, StudyState.INTERRUPTED, Standing.SILENT),
        (-3600.0, StudyState.RUNNING, Standing.HELD),
    ],
)
def test_a_machine_elsewhere_drives_as_long_as_it_is_heard_of(
    study: SyntheticStudy, heard_seconds_ago: float, state: StudyState, standing: Standing
) -> None:
    begin(study)
    write_lease(study.folder, heard_seconds_ago=heard_seconds_ago)
    status = read_status(study.folder)
    assert status.driver is not None
    assert (status.state, status.driver.standing) == (state, standing)


def test_a_driver_that_let_go_without_closing(study: SyntheticStudy) -> None:
    begin(study)
    drive(study, since_seconds=STARTED_SECONDS, released_seconds=study.now_seconds, ended="failed")
    status = at(study)
    assert status.state is StudyState.INTERRUPTED
    assert status.message is not None and "let go of it before its end" in status.message


def test_a_study_of_a_version_without_leases(study: SyntheticStudy) -> None:
    begin(study)
    status = at(study)
    assert (status.state, status.driver) == (StudyState.INTERRUPTED, None)
    assert status.message == "it was never closed, and nobody is known to drive it"


def test_a_damaged_lease_does_not_hide_the_study(study: SyntheticStudy) -> None:
    begin(study)
    drive(study, since_seconds=STARTED_SECONDS)
    lease_file(study.folder, 1).write_text("{")
    status = at(study)
    assert status.driver is None
    assert status.driver_problem is not None and "1.json is damaged" in status.driver_problem
    assert status.message == "it was never closed, and nobody can tell who drives it"
    assert status.trials_done == 3


def test_a_line_that_is_being_written_is_not_read(study: SyntheticStudy) -> None:
    begin(study)
    with study.folder.ledger.open("a") as file:
        file.write('{"event": "trial_fin')
    assert at(study).trials_done == 3


def test_the_budget_is_the_one_that_was_asked_for_last(study: SyntheticStudy) -> None:
    begin(study)
    study.close("trials")
    change = BudgetChange(time_seconds=0.0, version="0", trials=30, hours=2.0, given=(24, None))
    study.folder.write_manifest(manifest().model_copy(update={"history": (change,)}))
    extended = StudyExtended(trials=30, hours=2.0, time_seconds=study.now_seconds + 100.0)
    with study.folder.ledger.open("a") as file:
        file.write(extended.model_dump_json() + "\n")
    status = at(study, 200.0)
    assert (status.trials_allowed, status.hours_allowed) == (30, 2.0)
    assert status.driven_seconds == pytest.approx(study.now_seconds - STARTED_SECONDS - 0.5)


def test_an_error_that_a_resume_got_over_is_none(study: SyntheticStudy) -> None:
    study.open()
    study.train(0, PROPOSALS[0], 0.95)
    study.close("failed")
    assert at(study).last_error is not None
    resumed = SyntheticStudy(study.folder, study.trials, study.now_seconds)
    resumed.open(resumed=True)
    assert at(resumed).last_error is None


def test_several_are_sorted_and_a_damaged_one_is_named_last(tmp_path: Path) -> None:
    studies = [synthetic_study(tmp_path, name) for name in ("damaged", "old", "new")]
    for study, created in zip(studies, (9.0, 1.0, 2.0), strict=True):
        study.folder.write_manifest(manifest(study.folder.path.name).model_copy(update={"created_seconds": created}))
    studies[0].folder.ledger.write_text("no event\n")
    statuses = read_statuses([study.folder for study in studies])
    assert [status.study for status in statuses] == ["new", "old", "damaged"]
    assert isinstance(statuses[-1], UnreadableStudy)
    assert "line 1 is not an event" in statuses[-1].problem


def test_a_read_only_study_is_read_and_left_alone(study: SyntheticStudy) -> None:
    begin(study)
    study.close("interrupted")
    names = sorted(path.name for path in study.folder.path.iterdir())
    script = (
        "import sys; from pathlib import Path; from cbam_search.study.status import read_status\n"
        "from cbam_search.records.folder import StudyFolder\n"
        "print(read_status(StudyFolder(Path(sys.argv[1]))).model_dump_json())\n"
        "print([name for name in ('torch', 'ray', 'optuna', 'mlflow') if name in sys.modules], file=sys.stderr)"
    )
    with read_only(study.folder.path):
        command = [*unprivileged(), sys.executable, "-c", script, str(study.folder.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "interrupted"
    assert done.stderr == "[]\n"
    assert sorted(path.name for path in study.folder.path.iterdir()) == names


def test_the_json_is_the_model(study: SyntheticStudy) -> None:
    drive(study, since_seconds=STARTED_SECONDS)
    begin(study)
    status = at(study)
    assert StudyStatus.model_validate_json(status.model_dump_json()) == status
