"""Latencies wherever a front is shown: with their unit and their spread, and no hypervolume before it has a meaning."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.console import Console
from synthetic_study import ACCURACY, candidate, ended, manifest, view_of

from cbam_search.metrics import LATENCY, Measured
from cbam_search.records.front import front_of
from cbam_search.records.manifest import LatencySummary, ObjectiveAxis, StudyManifest
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.report.figures.front_html import front_html
from cbam_search.report.figures.front_png import front_png
from cbam_search.report.figures.front_points import plane_of
from cbam_search.report.front_table import front_table
from cbam_search.report.tally import Tally
from cbam_search.report.terminal.progress_lines import end_line, outcome_text
from cbam_search.report.terminal.study_table import print_study_table
from cbam_search.report.wording import with_spread

OPEN = ObjectiveAxis(name=LATENCY, direction="min", reference=None, ideal=0.0)
OBJECTIVES = (ACCURACY, OPEN.model_copy(update={"reference": 5.0}))
LATENCY_SPREAD = "latency_spread_ms"
DEVICE = LatencySummary(device="AMD EPYC 9B14", batch_size=1, precision="float32", threads=2)


def timed(number: int, accuracy: float, latency: float, spread: float = 0.05) -> Trial:
    metrics = {"accuracy": Measured(value=accuracy), LATENCY: Measured(value=latency, standard_error=spread)}
    values = {"accuracy": accuracy, LATENCY: latency}
    return Trial(number, candidate(), Outcome(state=TrialState.COMPLETE, metrics=metrics, values=values, epochs=8))


TOO_SLOW = ended(
    7,
    TrialState.INFEASIBLE,
    metrics={LATENCY: Measured(value=9.0, standard_error=0.2)},
    reason="latency_ms 9 is above 5",
)
TRIALS = (timed(0, 0.90, 3.21), timed(1, 0.95, 4.5))


def manifest_of(objectives: tuple[ObjectiveAxis, ...] = OBJECTIVES) -> StudyManifest:
    return manifest(objectives=objectives).model_copy(update={"latency": DEVICE})


def printed(trials: Iterable[Trial], described: StudyManifest) -> str:
    trials = list(trials)
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_study_table(console, described, trials, front_of(trials, described.objectives))
    return console.export_text()


def test_the_table_shows_unit_spread_device_and_what_a_tie_is() -> None:
    text = printed((*TRIALS, TOO_SLOW), manifest_of())
    assert "latency (ms)" in text
    assert "3.21 +/- 0.05" in text
    assert "batches of 1 on AMD EPYC 9B14, 2 threads, float32" in text
    assert "smaller differences are ties" in text
    (line,) = [line for line in text.splitlines() if "9.0 +/- 0.2" in line]
    assert line.rstrip().endswith("infeasible")


def test_a_latency_that_is_a_constraint_alone_is_shown_too() -> None:
    assert "3.21 +/- 0.05" in printed(TRIALS, manifest_of((ACCURACY,)))


def test_there_is_no_figure_for_a_hypervolume_without_a_reference() -> None:
    described = manifest_of((ACCURACY, OPEN))
    assert "hypervolume not defined yet" in printed(TRIALS, described)
    assert "hypervolume not defined yet" in end_line(Tally(described, view_of(TRIALS, described)), 1.0)
    assert "hypervolume not defined yet" in front_html(TRIALS, described.objectives, title="x")
    assert front_png(TRIALS, described.objectives, title="x")


def test_rows_hold_figure_and_spread_of_every_trial_that_has_them() -> None:
    rows = front_table((*TRIALS, TOO_SLOW, ended(8, TrialState.FAILED)), OBJECTIVES)
    assert {row["trial"]: (row[LATENCY], row[LATENCY_SPREAD]) for row in rows} == {
        0: (3.21, 0.05),
        1: (4.5, 0.05),
        7: (9.0, 0.2),
        8: (None, None),
    }
    assert json.dumps(rows)
    assert LATENCY not in front_table([ended(8, TrialState.FAILED)], (ACCURACY,))[0]


def test_figures_have_the_unit_on_the_axis_and_the_spread_at_each_dot() -> None:
    assert plane_of(TRIALS, OBJECTIVES).x_title == "latency (ms)"
    page = front_html(TRIALS, OBJECTIVES, title="x")
    assert "latency (ms)" in page
    assert "latency: 3.21 \\u00b1 0.05 ms" in page
    assert front_png(TRIALS, OBJECTIVES, title="x")


def test_lines_of_progress_name_it_with_its_unit() -> None:
    assert "latency 3.21 ms" in outcome_text(TRIALS[0], manifest_of())
    assert "latency_ms 9 is above 5" in outcome_text(TOO_SLOW, manifest_of())
    assert "1 infeasible" in end_line(Tally(manifest_of(), view_of((*TRIALS, TOO_SLOW), manifest_of())), 1.0)


def test_decimals_follow_the_spread() -> None:
    assert with_spread(3.2149, 0.0512, "+/-") == "3.21 +/- 0.05"
    assert with_spread(0.21494, 0.0012, "+/-") == "0.215 +/- 0.001"
    assert with_spread(35.3, 1.7, "+/-") == "35 +/- 2"
    assert with_spread(1234.5, 56.0, "+/-") == "1234 +/- 56"
    assert with_spread(1.0, 0.0, "+/-") == "1.000000 +/- 0.000000"
