"""Replayed results are said to be so, with the study that trained them, wherever results are shown."""

from __future__ import annotations

import io
from dataclasses import replace

from architectures import with_attention
from rich.console import Console
from synthetic_study import backbone, complete, ended, manifest, view_of

from cbam_search.architecture import SeSpec
from cbam_search.records.events import EpochFinished, StudyClosed
from cbam_search.records.front import front_of
from cbam_search.records.manifest import WarmStart
from cbam_search.records.trials import Origin, ReplayedFrom, Trial, TrialState
from cbam_search.report.front_table import front_table
from cbam_search.report.replayed import replayed_json, replayed_text, with_replays
from cbam_search.report.tally import Tally
from cbam_search.report.terminal.progress_lines import end_line, finished_line
from cbam_search.report.terminal.study_table import print_study_table

MANIFEST = manifest()


def replayed(trial: Trial, study: str = "X") -> Trial:
    source = ReplayedFrom(study=study, study_id="1" * 32, trial=3)
    return replace(trial, outcome=trial.outcome.model_copy(update={"replayed_from": source}))


def test_the_sentence() -> None:
    own = [complete(0, 0.9, 0.002), ended(1, TrialState.DIVERGED)]
    assert replayed_text(own) is None
    assert replayed_text([*own, replayed(complete(2, 0.8, 0.001))]) == "1 of 3 results replayed from study X"
    of_two = [replayed(complete(2, 0.8, 0.001)), replayed(complete(3, 0.8, 0.001), "Y"), replayed(complete(4, 0.8, 0.001))]
    assert replayed_text([*own, *of_two]) == "3 of 5 results replayed from studies X (2), Y (1)"
    many = [replayed(complete(number, 0.8, 0.001), f"S{number}") for number in range(5)]
    assert replayed_text(many) == "5 of 5 results replayed from studies S0 (1), S1 (1), S2 (1) and 2 more"
    assert replayed_json([*own, *of_two]) == {"results": 5, "replayed": 3, "from": {"X": 2, "Y": 1}}


def test_how_the_study_closed() -> None:
    closed = StudyClosed(reason="trials", message="all 2 trainings are done")
    assert with_replays(closed, [complete(0, 0.9, 0.002)]) == closed
    message = with_replays(closed, [complete(0, 0.9, 0.002), replayed(complete(1, 0.9, 0.002))]).message
    assert message == "all 2 trainings are done; 1 of 2 results replayed from study X"


def test_progress() -> None:
    tally = Tally(MANIFEST, view_of([complete(0, 0.9, 0.002), replayed(complete(1, 0.95, 0.002))], MANIFEST))
    assert "(published, replayed from study X, trial 3, on the front)" in finished_line(tally, 1, None)
    assert "1 of 2 results replayed from study X" in end_line(tally, 1.0)
    assert "replayed" not in end_line(Tally(MANIFEST, view_of([complete(0, 0.9, 0.002)], MANIFEST)), 1.0)


def test_replayed_epochs_say_nothing_of_this_studys_pace() -> None:
    tally = Tally(MANIFEST, view_of([], MANIFEST))
    for epoch in range(1, 9):
        tally.view.apply(EpochFinished(trial=0, attempt=1, epoch=epoch, metrics={}, seconds=100.0, replayed=True))
    assert tally.seconds_left(0.0, 1) is None


def test_tables() -> None:
    found = with_attention(backbone(), [SeSpec(), None, None])
    warm = complete(1, 0.95, 0.002, origin=Origin.WARM_START, architecture=found)
    beside = complete(2, 0.93, 0.003, origin=Origin.WARM_START, architecture=found)
    trials = [replayed(complete(0, 0.9, 0.001)), warm, beside]
    rows = {row["trial"]: row for row in front_table(trials, MANIFEST.objectives)}
    assert rows[0]["replayed_from"] == "X, trial 3"
    assert (rows[1]["origin"], rows[1]["replayed_from"]) == ("warm_start", None)
    started = MANIFEST.model_copy(update={"warm_start": WarmStart(study="Y", study_id="2" * 32, members=())})
    page = io.StringIO()
    print_study_table(Console(file=page, width=200), started, trials, front_of(trials, MANIFEST.objectives))
    shown = page.getvalue()
    assert "1 of 3 results replayed from study X." in shown
    assert "^ from" in shown
    lines = {line.split()[0]: line.split()[-1] for line in shown.splitlines() if line.strip()[:1].isdigit()}
    assert (lines["0*"], lines["1^"], lines["2^"]) == ("yes", "yes", "no")
