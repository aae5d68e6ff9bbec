"""A plan as a picture: where each backbone lies, how its architectures spread, and where published designs stand."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from cbam_search.errors import UserError
from cbam_search.metrics import metric
from cbam_search.report.figures.style import COLOURS, WIDE_RATIO, plain
from cbam_search.report.wording import large_number
from cbam_search.safe_text import printable, reason
from cbam_search.search.plan import Design, Plan
from cbam_search.search.space_costs import AXES, SCALES, BackboneCosts

FORMATS = (".png", ".svg")
_ROWS = 12
_BINS = 160
_TALLEST = 0.72
_MARKERS = {"": ("|", "bare"), "se": ("s", "se at every site"), "cbam": ("D", "cbam at every site")}


def check_picture(path: Path) -> None:
    """Raise UserError where no picture could be written."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{printable(path)}: a picture's name ends in {' or '.join(FORMATS)}")
    try:
        is_folder, has_folder = path.is_dir(), path.absolute().parent.is_dir()
    except (OSError, ValueError) as error:
        raise UserError(f"{printable(path)} cannot be written: {reason(error)}") from None
    if is_folder or not has_folder:
        raise UserError(f"{printable(path)}: {'this is a folder' if is_folder else 'there is no such folder'}")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise UserError(f"{printable(path)} cannot be written: permission denied")


def plan_picture(plan: Plan, path: Path) -> None:
    """Write the picture, as PNG or SVG by the ending of `path`; raises UserError when it cannot be written."""
    check_picture(path)
    try:
        path.write_bytes(plan_figure(plan, path.suffix.lower().removeprefix(".")))
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be written: {reason(error)}") from None


def plan_figure(plan: Plan, form: str) -> bytes:
    """The picture of the first objective that is a cost (gflops where there is none). form: png or svg."""
    name = next((objective for objective in plan.objectives if objective in AXES), "gflops")
    rows = sorted(_shown(plan), key=lambda entry: entry.range(name))
    figure = Figure(figsize=(10.6, 2.3 + 0.62 * len(rows)), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
    _draw_ranges(left, plan, rows, name)
    _draw_spreads(right, plan, rows, name)
    left.set_yticks(range(len(rows)), [plain(entry.backbone.name) for entry in rows])
    left.set_ylim(len(rows) - 0.6, -0.95)
    figure.suptitle(plain(_title(plan, rows)), x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.legend(handles=_legend(plan.designs), loc="outside lower right", ncols=5, fontsize=8.5, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form)
    return buffer.getvalue()


def _shown(plan: Plan) -> Sequence[BackboneCosts]:
    """At most so many backbones, those with published designs first."""
    named = {design.architecture.backbone for design in plan.designs}
    return sorted(plan.costs.backbones, key=lambda entry: entry.backbone not in named)[:_ROWS]


def _title(plan: Plan, rows: Sequence[BackboneCosts]) -> str:
    hidden = len(plan.costs.backbones) - len(rows)
    return f"{plan.name}: {large_number(plan.costs.count)} architectures" + (
        f"; {hidden} backbones not shown" if hidden else ""
    )


def _style_axes(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=COLOURS["faint_text"])
    axes.grid(axis="x", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _draw_ranges(axes: Axes, plan: Plan, rows: Sequence[BackboneCosts], name: str) -> None:
    """From the cheapest to the costliest architecture of each backbone, on one axis."""
    _style_axes(axes, "from the cheapest to the costliest of each backbone")
    axes.set_xlabel(metric(name).title)
    if name == "params":
        axes.xaxis.set_major_formatter(EngFormatter())
    lows, highs = zip(*(entry.range(name) for entry in rows), strict=True)
    ratio = max(highs) / min(lows)
    factor = ratio**0.08 if ratio > 1.5 else 1.05
    axes.set_xscale("log" if ratio > WIDE_RATIO else "linear")
    axes.set_xlim(min(lows) / factor if ratio > WIDE_RATIO else 0.0, max(highs) * factor)
    for row, (low, high) in enumerate(zip(lows, highs, strict=True)):
        axes.plot([low, high], [row, row], color=COLOURS["front"], linewidth=9, solid_capstyle="butt")
        axes.plot([low, high], [row, row], color=COLOURS["front"], marker="|", markersize=13, linestyle="none")
    if name in plan.bounds:
        bound = plan.bounds[name]
        axes.axvspan(bound, axes.get_xlim()[1], color=COLOURS["stopped"], alpha=0.14, linewidth=0)
        axes.axvline(bound, color=COLOURS["stopped"], linewidth=1.2)
        axes.set_xlim(right=max(axes.get_xlim()[1], bound))


def _draw_spreads(axes: Axes, plan: Plan, rows: Sequence[BackboneCosts], name: str) -> None:
    """How many architectures add how much to their bare backbone: one curve a backbone, as tall as the others."""
    _style_axes(axes, "share of the backbone's architectures, each counted once")
    axes.set_xlabel(f"{metric(name).title.partition(' (')[0]} above the bare backbone, %")
    for row, entry in enumerate(rows):
        bare = int(entry.bare[AXES.index(name)])
        distribution = entry.distribution(name)
        added = 100 * distribution.values[:, 0] / bare
        ends = added.min(), added.max()
        if len(added) > 1:
            heights, edges = np.histogram(added, bins=_BINS, weights=distribution.shares)
            outline = row - _TALLEST * heights / heights.max()
            axes.fill_between(edges, row, np.r_[outline, outline[-1:]], step="post", color=COLOURS["dominated"], linewidth=0)
        axes.plot(ends, [row, row], color=COLOURS["front"], linewidth=1.2)
        bound = 100 * (plan.bounds.get(name, np.inf) * SCALES[name] / bare - 1)
        if ends[0] <= bound < ends[1]:
            axes.plot([bound, bound], [row, row - _TALLEST], color=COLOURS["stopped"], linewidth=1.2)
        for design in plan.designs:
            if design.architecture.backbone == entry.backbone:
                value = {"gflops": design.cost.macs, "params": design.cost.params}[name]
                _mark(axes, 100 * (value / bare - 1), row, design)


def _mark(axes: Axes, x: float, row: int, design: Design) -> None:
    (mark,) = axes.plot(x, row, clip_on=False, zorder=4 if _marker(design)[0] == "|" else 5)
    _style_mark(mark, _marker(design)[0], excluded=design.excluded)


def _marker(design: Design) -> tuple[str, str]:
    kind = design.label.partition("+")[2]
    return _MARKERS.get(kind, ("P", f"{kind} at every site"))


def _legend(designs: Sequence[Design]) -> list[Line2D]:
    marks = dict.fromkeys(_marker(design) for design in designs)
    entries = [_style_mark(Line2D([], [], label=plain(label)), marker) for marker, label in marks]
    if any(design.excluded for design in designs):
        entries.append(_style_mark(Line2D([], [], label="excluded by a constraint"), "s", excluded=True))
    return entries


def _style_mark(mark: Line2D, marker: str, *, excluded: bool = False) -> Line2D:
    """A bare network is a tall stroke, so that it shows behind a kind that costs next to nothing."""
    stroke = marker == "|"
    mark.set_linestyle("none")
    mark.set_marker(marker)
    mark.set_markersize(20 if stroke else 6.5)
    mark.set_markerfacecolor("white" if excluded else COLOURS["published"])
    mark.set_markeredgecolor(COLOURS["published_text"])
    mark.set_markeredgewidth(1.8 if stroke else 1.0)
    return mark
