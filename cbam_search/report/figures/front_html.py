"""The front as a page: plotly, interactive, with its script inside, so that it works offline."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.io

from cbam_search.metrics import metric, tolerance
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Trial
from cbam_search.report.figures.front_points import Dot, Group, Plane, plane_of, value_of
from cbam_search.report.figures.label_placement import NEAR, Box, Name, Place, named_dots, obstacles, place_names
from cbam_search.report.figures.style import COLOURS, caption, legend_name, window_on
from cbam_search.report.wording import with_spread
from cbam_search.safe_text import printable

_PAGE = """<!doctype html>
<html>
<head><meta charset="utf-8"><title>{title}</title><style>html, body, body > div {{ height: 100%; margin: 0 }}</style></head>
<body>{plot}</body>
</html>
"""
_USUAL_PIXELS = (1000.0, 480.0)
_CHARACTER_PIXELS = 6.3
_UP = {-1: "bottom", 0: "middle", 1: "top"}
_ACROSS = {-1: "left", 0: "center", 1: "right"}
_FONT = {"family": "system-ui, sans-serif", "color": "#24292f", "size": 13}


def front_html(trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis], *, title: str) -> str:
    """A whole HTML page; hovering shows every objective of a trial, its cost, its rank and what it is."""
    plane = plane_of(trials, objectives)
    figure = {"data": _traces(plane, objectives), "layout": _layout(plane, objectives, title)}
    plot = plotly.io.to_html(
        figure,
        include_plotlyjs=True,
        full_html=False,
        validate=False,
        default_width="100%",
        default_height="100%",
        config={"displaylogo": False, "responsive": True},
    )
    return _PAGE.format(title=html.escape(printable(title)), plot=plot)


def _traces(plane: Plane, objectives: Sequence[ObjectiveAxis]) -> list[dict[str, Any]]:
    traces = []
    if plane.line:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [x for x, _ in plane.line],
                "y": [y for _, y in plane.line],
                "line": {"color": COLOURS["front"], "width": 2},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    places = _places(plane)
    for group in (Group.STOPPED, Group.DOMINATED, Group.FRONT):
        for published in (False, True):
            dots = [dot for dot in plane.of(group) if dot.published is published]
            if dots:
                traces.append(_trace(dots, objectives, group, published) | _names(dots, places))
    return traces


def _trace(dots: Sequence[Dot], objectives: Sequence[ObjectiveAxis], group: Group, published: bool) -> dict[str, Any]:
    faint = group is Group.STOPPED
    colour = COLOURS["published"] if published else COLOURS[group.value]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": legend_name(group, published, len(dots)),
        "x": [dot.x for dot in dots],
        "y": [dot.y for dot in dots],
        "textfont": {"size": 11, "color": COLOURS["published_text"] if published else COLOURS["front"]},
        "hovertext": [_hover(dot, objectives) for dot in dots],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "cliponaxis": False,
        "marker": {
            "symbol": ("diamond" if published else "circle") + ("-open" if faint else ""),
            "size": 11 if group is Group.FRONT or published else 8,
            "color": colour,
            "opacity": 0.45 if faint else 1.0,
            "line": {"width": 1.5, "color": colour if faint else COLOURS["front"] if group is Group.FRONT else "white"},
        },
    }


def _names(dots: Sequence[Dot], places: Mapping[int, Place]) -> dict[str, Any]:
    """What is written beside each dot, and on which side; nothing where it has no place."""
    placed = [places.get(dot.trial.number) for dot in dots]
    return {
        "text": [html.escape(printable(dot.name)) if place else "" for dot, place in zip(dots, placed, strict=True)],
        "textposition": [f"{_UP[place.up]} {_ACROSS[place.across]}" if place else "top center" for place in placed],
    }


def _places(plane: Plane) -> dict[int, Place]:
    """By trial, for a page of usual size; a name that would cover something is left to the hover text."""
    if not plane.dots:
        return {}
    window = window_on(plane)
    width, height = _USUAL_PIXELS

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        return width * window.share_x(x), height * window.share_y(y)

    dots = named_dots(plane)
    names = [
        Name(*to_pixels(dot.x, dot.y), width=_CHARACTER_PIXELS * len(dot.name), height=14.0, required=False) for dot in dots
    ]
    chosen = place_names(names, obstacles(plane, to_pixels), Box(0, 0, width, height), NEAR)
    return {dot.trial.number: place for dot, place in zip(dots, chosen, strict=True) if place}


def _hover(dot: Dot, objectives: Sequence[ObjectiveAxis]) -> str:
    trial = dot.trial
    shown = [objective.name for objective in objectives]
    shown += [name for name in ("gflops", "params") if name not in shown]
    lines = [f"<b>{html.escape(printable(trial.candidate.label))}</b>", f"trial {trial.number} · {trial.state.value}"]
    for name in shown:
        value = value_of(trial, name)
        if value is not None:
            lines.append(f"{metric(name).name_in_words}: {_with_spread(trial, name, value)}")
    if dot.rank is not None:
        lines.append("on the Pareto front" if dot.rank == 0 else f"non-domination rank {dot.rank}")
    return "<br>".join(lines)


def _with_spread(trial: Trial, name: str, value: float) -> str:
    spread = tolerance(name, trial.outcome.metrics) if trial.outcome else 0.0
    return f"{with_spread(value, spread, '±')} {metric(name).unit}" if spread else metric(name).text(value)


def _layout(plane: Plane, objectives: Sequence[ObjectiveAxis], title: str) -> dict[str, Any]:
    axis = {"gridcolor": COLOURS["grid"], "zeroline": False, "showline": True, "linecolor": COLOURS["faint_text"]}
    x_axis: dict[str, Any] = {**axis, "title": {"text": plane.x_title}}
    y_axis: dict[str, Any] = {**axis, "title": {"text": plane.y_title}}
    layout: dict[str, Any] = {
        "title": {
            "text": f"<b>{html.escape(printable(title))}</b><br><sup>{html.escape(caption(plane, objectives))}</sup>",
            "x": 0.02,
            "xanchor": "left",
        },
        "font": _FONT,
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "white", "font": _FONT},
        "legend": {"orientation": "h", "y": -0.17, "yanchor": "top", "x": 0},
        "margin": {"l": 70, "r": 40, "t": 80, "b": 70},
        "xaxis": x_axis,
        "yaxis": y_axis,
    }
    if plane.dots:
        window = window_on(plane)
        x_axis |= {"type": "log", "range": [math.log10(end) for end in window.x]} if window.logarithmic else {"range": window.x}
        y_axis["range"] = window.y
    else:
        layout["annotations"] = [
            {"text": "no complete trial yet", "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
        ]
    return layout
