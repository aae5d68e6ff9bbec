"""The front as a PNG: matplotlib's object interface on the Agg canvas, so that no global state is touched."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter
from matplotlib.transforms import Bbox, IdentityTransform

from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Trial
from cbam_search.report.figures.front_points import Dot, Group, Plane, plane_of
from cbam_search.report.figures.label_placement import FAR, NEAR, Box, Name, named_dots, obstacles, place_names
from cbam_search.report.figures.style import COLOURS, caption, legend_name, plain, window_on

_Corner = Literal["upper right", "lower right", "upper left", "lower left"]
_CORNERS: tuple[_Corner, ...] = get_args(_Corner)
_MARKER_AREA = {Group.FRONT: 62.0, Group.DOMINATED: 34.0, Group.STOPPED: 26.0}


def front_png(trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis], *, title: str) -> bytes:
    """The first two objectives against each other, the front as a line, published designs as named diamonds."""
    plane = plane_of(trials, objectives)
    figure = Figure(figsize=(9.6, 5.8), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _style_axes(axes, plane, objectives, title)
    if plane.dots:
        _draw(axes, plane)
        figure.draw_without_rendering()
        _label(axes, canvas.get_renderer(), plane)  # type: ignore[no-untyped-call]
    else:
        axes.text(0.5, 0.5, "no complete trial yet", transform=axes.transAxes, ha="center", color=COLOURS["faint_text"])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _style_axes(axes: Axes, plane: Plane, objectives: Sequence[ObjectiveAxis], title: str) -> None:
    axes.set_title(plain(title), loc="left", fontsize=13, fontweight="bold", pad=22)
    axes.text(0, 1.02, caption(plane, objectives), transform=axes.transAxes, fontsize=9, color=COLOURS["faint_text"])
    axes.set_xlabel(plane.x_title)
    axes.set_ylabel(plane.y_title)
    axes.grid(color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw(axes: Axes, plane: Plane) -> None:
    if plane.line:
        axes.plot(*zip(*plane.line, strict=True), color=COLOURS["front"], linewidth=1.6, zorder=2)
    for group in (Group.STOPPED, Group.DOMINATED, Group.FRONT):
        for published in (False, True):
            dots = [dot for dot in plane.of(group) if dot.published is published]
            if dots:
                _scatter(axes, dots, group, published)
    window = window_on(plane)
    axes.set_xscale("log" if window.logarithmic else "linear")
    if plane.x_title == "parameters":
        axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlim(window.x)
    axes.set_ylim(window.y)
    axes.legend(fontsize=8.5, frameon=True, framealpha=0.9, edgecolor=COLOURS["grid"])


def _scatter(axes: Axes, dots: Sequence[Dot], group: Group, published: bool) -> None:
    faint = group is Group.STOPPED
    colour = COLOURS["published"] if published else COLOURS[group.value]
    axes.scatter(
        [dot.x for dot in dots],
        [dot.y for dot in dots],
        s=_MARKER_AREA[group] * (1.25 if published else 1.0),
        marker="D" if published else "o",
        facecolors="none" if faint else colour,
        edgecolors=colour if faint else COLOURS["front"] if group is Group.FRONT else "white",
        linewidths=1.6 if published and group is Group.FRONT else 0.8,
        alpha=0.45 if faint else 1.0,
        zorder=5 if published else 4 if group is Group.FRONT else 3,
        label=legend_name(group, published, len(dots)),
    )


def _label(axes: Axes, renderer: RendererBase, plane: Plane) -> None:
    """Write the names of published designs always, and the numbers of the front's members where there is room."""

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        across, up = axes.transData.transform((x, y))
        return float(across), float(up)

    dots = named_dots(plane)
    texts = [_text(axes, dot) for dot in dots]
    extents = [text.get_window_extent(renderer) for text in texts]
    names = [
        Name(*to_pixels(dot.x, dot.y), width=extent.width, height=extent.height, required=dot.published)
        for dot, extent in zip(dots, extents, strict=True)
    ]
    taken = obstacles(plane, to_pixels)
    taken.append(_place_legend(axes, renderer, taken))
    for name, text, place in zip(names, texts, place_names(names, taken, _box(axes.bbox), NEAR + FAR), strict=True):
        if place is None:
            text.remove()
        else:
            text.set_position((name.at(place).left, name.at(place).bottom))


def _place_legend(axes: Axes, renderer: RendererBase, taken: Sequence[Box]) -> Box:
    """Move the legend to the corner where it covers least. matplotlib's "best" looks at the centres of dots alone."""
    legend = axes.get_legend()
    assert legend is not None

    def covered(corner: _Corner) -> float:
        legend.set_loc(corner)
        extent = _box(legend.get_window_extent(renderer))
        return sum(extent.overlap(box) for box in taken)

    best: _Corner = min(_CORNERS, key=covered)
    legend.set_loc(best)
    return _box(legend.get_window_extent(renderer))


def _text(axes: Axes, dot: Dot) -> Text:
    return axes.text(
        0,
        0,
        plain(dot.name),
        transform=IdentityTransform(),
        fontsize=8.5 if dot.published else 7.5,
        color=COLOURS["published_text"] if dot.published else COLOURS["front"],
        verticalalignment="bottom",
        zorder=6,
    )


def _box(extent: Bbox) -> Box:
    return Box(float(extent.x0), float(extent.y0), float(extent.x1), float(extent.y1))
