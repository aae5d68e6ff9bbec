"""Events to changes, without MLflow."""

from __future__ import annotations

import pytest
from synthetic_study import ACCURACY, GFLOPS, SyntheticStudy, candidate, random_candidates

from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.events import ArchitectureMeasured, EpochFinished, FrontUpdated, TrialFinished
from cbam_search.records.ledger import read_events
from cbam_search.records.trials import Origin, Outcome, ReplayedFrom, TrialState
from cbam_search.records.view import StudyView
from cbam_search.tracking.study_changes import STUDY, StudyChanges

LATENCY_SPREAD = "latency_spread_ms"
OBJECTIVES = (ACCURACY, GFLOPS)


def changes_of(study: SyntheticStudy, view: StudyView, offset: int = 0) -> tuple[StudyChanges, int]:
    changes = StudyChanges(view, OBJECTIVES)
    for event, after in read_events(study.folder.ledger, offset):
        changes.add(event)
        offset = after
    changes.add_rank_tags()
    return changes, offset


def test_only_places_that_changed_are_written_again(study: SyntheticStudy) -> None:
    view = StudyView()
    study.train(0, candidate(gflops=0.001), 0.90)
    study.train(1, candidate(gflops=0.003), 0.95)
    _, offset = changes_of(study, view)
    study.train(2, candidate(gflops=0.002), 0.96)
    changes, _ = changes_of(study, view, offset)
    assert 0 not in changes.runs
    assert changes.runs[1].tags == {"pareto_rank": "1", "on_front": "false"}
    assert changes.runs[2].tags["on_front"] == "true"


def test_events_that_come_twice_change_nothing(study: SyntheticStudy) -> None:
    study.open()
    study.train(0, candidate(), 0.9, epochs=2)
    study.skip(1, candidate(), TrialState.DUPLICATE)
    once, _ = changes_of(study, StudyView())
    twice = StudyChanges(StudyView(), OBJECTIVES)
    for event, _ in read_events(study.folder.ledger):
        twice.add(event)
        if event.event != "front_updated":
            twice.add(event)
    twice.add_rank_tags()
    assert twice.runs == once.runs


def test_a_second_attempt_runs_again_under_the_same_run_and_repeats_no_equal_epoch(study: SyntheticStudy) -> None:
    view = StudyView()
    study.start(0, candidate())
    study.epoch(0, 1, 0.5)
    study.close("interrupted")
    changes, offset = changes_of(study, view)
    assert changes.runs[0].status == "KILLED"
    assert changes.runs[0].tags["state"] == "interrupted"
    resumed = SyntheticStudy(study.folder, study.trials, study.now_seconds)
    resumed.open(resumed=True)
    resumed.start(0, candidate(), attempt=2)
    resumed.epoch(0, 1, 0.5)
    resumed.epoch(0, 2, 0.6)
    changes, _ = changes_of(resumed, view, offset)
    assert changes.runs[0].status == "RUNNING"
    assert changes.runs[0].tags["attempt"] == "2"
    assert {row.step for row in changes.runs[0].metrics} == {2}
    assert changes.runs[STUDY].status == "RUNNING"


def test_states_become_run_statuses(study: SyntheticStudy) -> None:
    states = [TrialState.COMPLETE, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED, TrialState.INFEASIBLE]
    for number, (proposed, state) in enumerate(zip(random_candidates(5), states, strict=True)):
        study.start(number, proposed)
        study.finish(number, state)
    changes, _ = changes_of(study, StudyView())
    assert [changes.runs[number].status for number in range(5)] == ["FINISHED", "KILLED", "FAILED", "FAILED", "FAILED"]
    assert [changes.runs[number].tags["on_front"] for number in range(5)] == ["true"] + ["false"] * 4
    assert changes.runs[3].tags["reason"] == "failed on purpose"


def test_skipped_proposals_are_counted_and_have_no_run(study: SyntheticStudy) -> None:
    first, second = random_candidates(2)
    study.skip(0, first, TrialState.INFEASIBLE)
    study.skip(1, second, TrialState.INFEASIBLE)
    study.skip(2, second, TrialState.DUPLICATE)
    changes, _ = changes_of(study, StudyView())
    assert set(changes.runs) == {STUDY}
    rows = [(row.name, row.value, row.step) for row in changes.runs[STUDY].metrics]
    assert rows == [("proposals_infeasible", 1, 1), ("proposals_infeasible", 2, 2), ("proposals_duplicate", 1, 3)]


@pytest.mark.parametrize("by_0_1", [False, True])
def test_a_latency_is_logged_once_and_a_hypervolume_only_where_there_is_one(study: SyntheticStudy, by_0_1: bool) -> None:
    """by_0_1: version 0.1 told of it with every epoch, and of a trial found too slow with its end alone."""
    measured, numbers = {LATENCY: Measured(value=3.0, standard_error=0.1)}, {LATENCY: 3.0, LATENCY_SPREAD: 0.1}
    changes = StudyChanges(StudyView(), OBJECTIVES)
    for number, proposed in enumerate(random_candidates(2)):
        study.start(number, proposed)
    for event, _ in read_events(study.folder.ledger):
        changes.add(event)
    if not by_0_1:
        for number in (0, 0, 1):
            changes.add(ArchitectureMeasured(trial=number, metrics=measured))
    for epoch in (1, 2):
        metrics = {"accuracy": 0.5} | (numbers if by_0_1 else {})
        changes.add(EpochFinished(trial=0, attempt=1, epoch=epoch, metrics=metrics, seconds=1.0))
    complete = Outcome(
        state=TrialState.COMPLETE, metrics={"accuracy": 0.5} | numbers, values={"accuracy": 0.5, "gflops": 1.0}, epochs=2
    )
    changes.add(TrialFinished(trial=0, outcome=complete))
    changes.add(TrialFinished(trial=1, outcome=Outcome(state=TrialState.INFEASIBLE, metrics=numbers, reason="too slow")))
    changes.add(FrontUpdated(front=(0,), hypervolume=None, changed=True, complete=1))
    for number in (0, 1):
        assert [row.value for row in changes.runs[number].metrics if row.name == LATENCY] == [3.0]
        assert [row.value for row in changes.runs[number].metrics if row.name == LATENCY_SPREAD] == [0.1]
    assert [row.name for row in changes.runs[0].metrics if row.step == 1] == ["accuracy", "epoch_seconds"]
    assert "hypervolume" not in {row.name for row in changes.runs[STUDY].metrics}
    changes.add(FrontUpdated(front=(0,), hypervolume=0.5, changed=False, complete=1))
    assert [row.value for row in changes.runs[STUDY].metrics if row.name == "hypervolume"] == [0.5]


def test_a_replayed_result_says_whose_it_was_and_is_counted(study: SyntheticStudy) -> None:
    study.start(0, candidate(origin=Origin.WARM_START))
    view = StudyView()
    changes, _ = changes_of(study, view)
    assert changes.runs[0].tags["origin"] == "warm_start"
    assert "another study's front" in changes.runs[0].tags["mlflow.note.content"]
    source = ReplayedFrom(study="X", study_id="1" * 32, trial=3)
    outcome = Outcome(state=TrialState.COMPLETE, values={"accuracy": 0.9, "gflops": 0.001}, epochs=2, replayed_from=source)
    changes = StudyChanges(view, OBJECTIVES)
    changes.add(TrialFinished(trial=0, outcome=outcome))
    assert changes.runs[0].tags["replayed_from"] == "X, trial 3"
    assert [row.value for row in changes.runs[STUDY].metrics if row.name == "trials_replayed"] == [1.0]
