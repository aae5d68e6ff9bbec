"""A study that opens reads what its ledger tells, and of the storage only what may differ: the outcome is as if it read all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState as OptunaState
from studies import StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.records import stored_trials
from cbam_search.records.events import TrialFinished, TrialStarted
from cbam_search.records.ledger import read_events
from cbam_search.records.storage import StudyStorage, open_storage
from cbam_search.records.stored_trials import read_doubtful_trials, read_trials
from cbam_search.records.study_records import open_records
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.search.config import SearchConfig


def mixed(trial: Trial) -> Outcome:
    """One in four fails, one diverges."""
    if trial.number % 4 == 1:
        return Outcome(state=TrialState.FAILED, reason=f"error {trial.number}")
    if trial.number % 4 == 2:
        return Outcome(state=TrialState.DIVERGED, reason="not finite")
    return landscape(trial)


@pytest.fixture
def bench(tmp_path: Path) -> StudyBench:
    """Twelve trainings of twenty, two of them running, and some skipped proposals."""
    config = SearchConfig(trials=20, sampler="random")
    made = StudyBench(new_folder(tmp_path, manifest_of(trials=20)), space_of(per="network"), config)
    made.run(mixed, workers=3, at_most=10)
    made.records.close()
    return made


def check(bench: StudyBench) -> None:
    whole = read_trials(open_storage(None, bench.folder), bench.folder.read_manifest())
    records = open_records(bench.folder, None)
    assert records.trials == whole
    assert list(records.trials) == sorted(whole)
    assert records.started == sum(trial.was_trained for trial in whole.values())
    records.close()


def lines_of(bench: StudyBench) -> list[str]:
    return bench.folder.ledger.read_text(encoding="utf-8").splitlines(keepends=True)


def keep_lines(bench: StudyBench, keep: Callable[[object], bool]) -> None:
    events = [event for event, _ in read_events(bench.folder.ledger)]
    kept = [line for line, event in zip(lines_of(bench), events, strict=True) if keep(event)]
    bench.folder.ledger.write_text("".join(kept), encoding="utf-8")


def test_as_it_was_left(bench: StudyBench) -> None:
    check(bench)


def test_of_ended_trials_the_storage_is_not_asked(bench: StudyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = stored_trials._read_trial
    monkeypatch.setattr(
        stored_trials, "_read_trial", lambda frozen, *rest: read.append(frozen.number) or original(frozen, *rest)
    )
    monkeypatch.setattr(StudyStorage, "_read_trials_from_remote_storage", lambda *_: pytest.fail("all trials were read"))
    records = open_records(bench.folder, None)
    running = [trial.number for trial in records.trials.values() if trial.state is TrialState.RUNNING]
    assert sorted(read) == sorted(running)
    assert len(running) == 2
    records.close()


def test_ends_that_the_ledger_lost(bench: StudyBench) -> None:
    keep_lines(bench, lambda event: not (isinstance(event, TrialFinished) and event.trial in (0, 3)))
    check(bench)


def test_starts_that_the_ledger_lost(bench: StudyBench) -> None:
    keep_lines(bench, lambda event: getattr(event, "trial", None) not in (0, 4))
    check(bench)


@pytest.mark.parametrize("one_by_one", [0, 100])
def test_all_that_the_ledger_knew(bench: StudyBench, monkeypatch: pytest.MonkeyPatch, one_by_one: int) -> None:
    monkeypatch.setattr(stored_trials, "READ_ONE_BY_ONE", one_by_one)
    keep_lines(bench, lambda event: not hasattr(event, "trial"))
    check(bench)


def test_numbers_that_the_storage_lost(bench: StudyBench) -> None:
    """As a crash of the machine takes the last ones out of a database that is not forced to disk at every commit."""
    whole = read_trials(open_storage(None, bench.folder), bench.folder.read_manifest())
    last = max(whole)
    known = whole | {last + 1: Trial(last + 1, whole[0].candidate), last + 2: Trial(last + 2, whole[0].candidate)}
    storage = open_storage(None, bench.folder)
    study = storage.get_study_id_from_name(bench.folder.read_manifest().study_id)
    assert read_doubtful_trials(storage, study, bench.folder.read_manifest(), known) == whole


def test_a_number_that_came_again_for_another_candidate(bench: StudyBench) -> None:
    """The ledger tells of a candidate under the number of a running trial that the storage knows otherwise."""
    whole = read_trials(open_storage(None, bench.folder), bench.folder.read_manifest())
    running = next(trial.number for trial in whole.values() if trial.state is TrialState.RUNNING)
    other = next(trial.candidate for trial in whole.values() if trial.candidate.digest != whole[running].candidate.digest)
    events = [event for event, _ in read_events(bench.folder.ledger)]
    lines = []
    for line, event in zip(lines_of(bench), events, strict=True):
        if isinstance(event, TrialStarted) and event.trial == running:
            changed = event.model_copy(update={"candidate": other, "digest": other.digest, "label": other.label})
            line = changed.model_dump_json() + "\n"
        lines.append(line)
    bench.folder.ledger.write_text("".join(lines), encoding="utf-8")
    check(bench)


def test_a_proposal_that_nobody_recorded_is_left_out(bench: StudyBench) -> None:
    """A driver was killed between asking Optuna and recording the candidate; the next one told Optuna that it failed."""
    bench.restart()
    bench.conductor.proposer._study.ask(bench.conductor.proposer._distributions)
    bench.restart()
    orphan = max(trial.number for trial in bench.records.storage.get_all_trials(bench.records.optuna_study_id))
    assert orphan not in bench.records.trials
    states = {trial.number: trial.state for trial in bench.records.storage.get_all_trials(bench.records.optuna_study_id)}
    assert states[orphan] is OptunaState.FAIL
    bench.records.close()
    check(bench)
