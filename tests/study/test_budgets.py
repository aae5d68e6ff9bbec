"""What a resumed study may take: asked for on the command line, edited in its YAML, or as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.errors import UserError
from cbam_search.records.events import StudyExtended
from cbam_search.records.ledger import read_events
from cbam_search.records.manifest import BudgetChange, StudyManifest
from cbam_search.search.config import SearchConfig
from cbam_search.search.proposer import NoCandidate
from cbam_search.study.budgets import Budget, apply, budget_asked
from cbam_search.study.config import StudyConfig


def config_of(trials: int = 20, hours: float | None = None) -> StudyConfig:
    search = {"trials": trials, "stop": {"hours": hours} if hours else {}}
    backbone = {"family": "cifar_resnet", "depth": 8}
    return StudyConfig.model_validate({"name": "x", "dataset": {"source": "digits"}, "backbone": backbone, "search": search})


def extended(manifest: StudyManifest, trials: int, hours: float | None, given: tuple[int, float | None]) -> StudyManifest:
    change = BudgetChange(time_seconds=1.0, version="0", trials=trials, hours=hours, given=given)
    return manifest.model_copy(update={"history": (*manifest.history, change)})


def test_as_it_was() -> None:
    assert budget_asked(manifest_of(trials=20), config_of()) == Budget(20, None, (20, None), (20, None))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"trials": 30}, (30, None)),
        ({"hours": 2.0}, (20, 2.0)),
        ({"trials": 30, "hours": 2.0}, (30, 2.0)),
    ],
)
def test_what_is_asked_for_holds(asked: dict[str, float], expected: tuple[int, float | None]) -> None:
    budget = budget_asked(manifest_of(trials=20), config_of(), **asked)  # type: ignore[arg-type]
    assert (budget.trials, budget.hours) == expected


def test_what_was_asked_for_before_holds_until_the_yaml_is_edited() -> None:
    manifest = extended(manifest_of(trials=20), 30, 2.0, (20, None))
    budget = budget_asked(manifest, config_of())
    assert (budget.trials, budget.hours) == (30, 2.0)
    budget = budget_asked(manifest, config_of(25))
    assert (budget.trials, budget.hours) == (25, 2.0)
    budget = budget_asked(manifest, config_of(20, 5.0))
    assert (budget.trials, budget.hours) == (30, 5.0)
    # Once the edited YAML was heeded, it holds, until something else is said.
    manifest = extended(manifest, 25, 2.0, (25, None))
    assert budget_asked(manifest, config_of(25)).trials == 25
    assert budget_asked(manifest, config_of(25), trials=40).trials == 40


@pytest.mark.parametrize("asked", [{"trials": 0}, {"trials": -3}, {"hours": 0.0}, {"hours": -1.0}, {"hours": float("inf")}])
def test_figures_that_are_none_are_refused(asked: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"--(trials|hours) .*: give the"):
        budget_asked(manifest_of(), config_of(), **asked)  # type: ignore[arg-type]


def bench_of(tmp_path: Path, **stop: object) -> StudyBench:
    search = SearchConfig.model_validate({"trials": 6, "sampler": "random", "stop": stop})
    return StudyBench(new_folder(tmp_path, manifest_of(trials=6)), space_of(), search)


def test_a_finished_study_goes_on_and_its_history_says_so(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    assert len(bench.run(landscape)) == 6
    note = apply(Budget(9, None, (6, None), (6, None)), bench.records)
    assert note is not None
    assert "may have 9 trainings in all; 6 were started before" in note
    bench.restart()
    assert len(bench.run(landscape)) == 3
    assert bench.conductor.exhausted is NoCandidate.BUDGET_USED
    manifest = bench.folder.read_manifest()
    assert (manifest.trials, manifest.trials_allowed) == (6, 9)
    assert [event.trials for event, _ in read_events(bench.folder.ledger) if isinstance(event, StudyExtended)] == [9]


@pytest.mark.parametrize(("asked", "none_new"), [(3, "; no new one is started"), (4, "")])
def test_what_is_under_way_is_said_to_be_finished(tmp_path: Path, asked: int, none_new: str) -> None:
    bench = bench_of(tmp_path)
    assert len(bench.run(landscape, at_most=1, workers=3)) == 1
    assert bench.records.started == 3
    note = apply(Budget(asked, None, (6, None), (6, None)), bench.records)
    ended = f"3 were started before, of which 2 have not ended and are finished now{none_new}"
    assert note == f"study {bench.records.manifest.name} may have {asked} trainings in all; {ended}"
    bench.restart()
    bench.run(landscape)
    assert (bench.records.started, bench.records.view.finished) == (asked, asked)


def test_the_same_budget_is_no_change(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    assert apply(Budget(6, None, (6, None), (6, None)), bench.records) is None
    assert bench.folder.read_manifest().history == ()


def test_fewer_than_there_are_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.run(landscape)
    with pytest.raises(UserError, match=r"has 6 trainings already, more than the 4 asked for .* give more than 6"):
        apply(Budget(4, None, (6, None), (6, None)), bench.records)
    assert bench.folder.read_manifest().history == ()


def test_fewer_than_before_end_an_unfinished_study_sooner(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    bench.run(landscape, at_most=2, workers=1)
    apply(Budget(4, None, (6, None), (6, None)), bench.records)
    bench.restart()
    bench.run(landscape)
    assert bench.records.started == 4


def test_a_study_that_stood_still_is_judged_anew(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, hypervolume={"improves_less_than": 0.9, "over_trials": 2})
    bench.run(landscape, workers=1)
    ended_after = bench.records.started
    assert ended_after < 6
    apply(Budget(20, None, (6, None), (6, None)), bench.records)
    bench.restart()
    more = bench.run(landscape, workers=1)
    assert len(more) >= 3
