from __future__ import annotations

import html
import io
import json
import re
import sys

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from synthetic_study import ACCURACY, GFLOPS, PARAMS, complete, ended, random_candidates

from cbam_search.records.trials import Trial, TrialState
from cbam_search.report.figures.front_html import front_html
from cbam_search.report.figures.front_png import _place_legend, front_png
from cbam_search.report.figures.front_points import plane_of
from cbam_search.report.figures.label_placement import Box
from cbam_search.report.figures.style import window_on

OBJECTIVES = (ACCURACY, GFLOPS)


def trials() -> list[Trial]:
    found = [
        complete(number, 0.94 + 0.001 * number, proposed.gflops, architecture=proposed.architecture, origin=proposed.origin)
        for number, proposed in enumerate(random_candidates(16))
    ]
    return [*found, ended(16, TrialState.STOPPED, metrics={"accuracy": 0.945}), ended(17, TrialState.FAILED)]


def traces(page: str) -> list[dict[str, object]]:
    match = re.search(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*(\[.*?\]),\s*\{", page, re.DOTALL)
    assert match
    found: list[dict[str, object]] = json.loads(match[1])
    return found


@pytest.mark.parametrize("objectives", [(ACCURACY,), OBJECTIVES, (ACCURACY, PARAMS, GFLOPS)], ids=["one", "two", "three"])
def test_png_is_a_picture_with_something_in_it(objectives: tuple) -> None:
    picture = Image.open(io.BytesIO(front_png(trials(), objectives, title="digits")))
    empty = Image.open(io.BytesIO(front_png([], objectives, title="digits")))
    assert picture.size == empty.size == (1248, 754)
    assert len(picture.convert("RGB").getcolors(1_000_000)) > 2 * len(empty.convert("RGB").getcolors(1_000_000))


@pytest.mark.parametrize("taken", ["upper right", "lower left"])
def test_the_legend_stands_where_it_covers_nothing(taken: str) -> None:
    figure = Figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.add_subplot()
    axes.scatter([0.5], [0.5], label="dominated (1)")
    corner = axes.legend(loc=taken).get_window_extent(renderer)
    edge_of_a_dot = Box(corner.x0 - 2, corner.y0 - 2, corner.x0 + 2, corner.y0 + 2)
    assert _place_legend(axes, renderer, [edge_of_a_dot]).overlap(edge_of_a_dot) == 0


def test_figures_need_no_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert front_png(trials(), OBJECTIVES, title="digits")


def test_page_works_offline_and_shows_every_complete_trial() -> None:
    page = front_html(trials(), OBJECTIVES, title="digits")
    assert not re.search(r"<script[^>]+src=", page)
    assert not re.search(r"<link[^>]+href=", page)
    assert len(page) > 3_000_000
    found = traces(page)
    dots = [text for trace in found for text in trace.get("hovertext", [])]
    assert sum("complete" in text for text in dots) == 16
    assert sum("stopped" in text for text in dots) == 1
    assert len(dots) == 17
    assert found[0]["mode"] == "lines"


def test_hover_text_has_every_objective() -> None:
    page = front_html(trials(), (ACCURACY, PARAMS, GFLOPS), title="digits")
    texts = [text for trace in traces(page) for text in trace.get("hovertext", [])]
    assert all("validation accuracy: 9" in text and "GFLOPs (1e9 multiply-adds)" in text for text in texts)
    assert all("parameters: " in text for text in texts)


def test_titles_are_text_and_not_markup() -> None:
    title = "<img src=x onerror=alert(1)>"
    page = front_html([], OBJECTIVES, title=title)
    assert title not in page
    assert html.escape(title) in page
    assert "no complete trial yet" in page


def test_numbers_of_trials_run_along_a_linear_axis() -> None:
    numbered = [complete(number, 0.9, 0.001) for number in range(1, 50)]
    assert not window_on(plane_of(numbered, (ACCURACY,))).logarithmic
    assert window_on(plane_of([complete(1, 0.9, 0.001), complete(2, 0.95, 1.0)], OBJECTIVES)).logarithmic


def test_one_trial_alone_can_be_drawn() -> None:
    only = [complete(0, 0.0, 0.0)]
    assert front_png(only, OBJECTIVES, title="one")
    assert front_html(only, OBJECTIVES, title="one")


ODD = "<a href=x>$x$_{</script>\u202e\n\x1b[31m"


def test_odd_names_are_text_on_every_figure() -> None:
    page = front_html(trials(), OBJECTIVES, title=ODD)
    assert "<a href=x>" not in page
    assert "\x1b" not in page
    assert Image.open(io.BytesIO(front_png(trials(), OBJECTIVES, title=ODD)))
