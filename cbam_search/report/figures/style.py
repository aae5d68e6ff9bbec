"""What the still and the interactive figure share: colours, legend, caption, and the window on the dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.report.figures.front_points import TRIAL_TITLE, Group, Plane
from cbam_search.report.wording import hypervolume_text
from cbam_search.safe_text import printable

COLOURS = {
    "front": "#0b5fa5",
    "dominated": "#9db8cf",
    "stopped": "#7a7a7a",
    "published": "#f28e2b",
    "published_text": "#9a4a00",
    "faint_text": "#5b6770",
    "grid": "#e3e8ec",
}

WIDE_RATIO = 30.0
"""An x axis whose ends differ by more than this factor is logarithmic."""


def plain(text: str) -> str:
    """For matplotlib, which would read what stands between two dollar signs as a formula."""
    return printable(text).replace("$", r"\$")


def legend_name(group: Group, published: bool, count: int) -> str:
    what = {
        Group.FRONT: "on the front",
        Group.DOMINATED: "dominated",
        Group.STOPPED: "stopped early, at its last epoch",
    }[group]
    return f"{'published, ' if published else ''}{what} ({count})"


def caption(plane: Plane, objectives: Sequence[ObjectiveAxis]) -> str:
    """One line under the title: how many, of what, and how much of the objectives' box they cover."""
    complete = len(plane.front.ranks)
    many = f", seen in the first 2 of {len(objectives)} objectives" if len(objectives) > 2 else ""
    return (
        f"front of {len(plane.front.members)} among {complete} complete trial{'' if complete == 1 else 's'}{many}"
        f" · hypervolume {hypervolume_text(plane.front.hypervolume)}"
    )


@dataclass(frozen=True)
class Window:
    """Ends of both axes, and whether x is logarithmic."""

    x: tuple[float, float]
    y: tuple[float, float]
    logarithmic: bool

    def share_x(self, x: float) -> float:
        """How far along the axis x is, from 0 to 1."""
        ends = (*self.x, x)
        low, high, value = map(math.log, ends) if self.logarithmic else ends
        return (value - low) / (high - low)

    def share_y(self, y: float) -> float:
        return (y - self.y[0]) / (self.y[1] - self.y[0])


def window_on(plane: Plane) -> Window:
    """A window that holds every complete trial with a margin; stopped trials widen it only where there are no others."""
    dots = [dot for dot in plane.dots if dot.group is not Group.STOPPED] or plane.dots
    xs, ys = [dot.x for dot in dots], [dot.y for dot in dots]
    low, high = min(xs), max(xs)
    if plane.x_title != TRIAL_TITLE and low > 0 and high / low > WIDE_RATIO:
        factor = (high / low) ** 0.08
        return Window(x=(low / factor, high * factor), y=_widened(ys), logarithmic=True)
    return Window(x=_widened(xs), y=_widened(ys), logarithmic=False)


def _widened(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return (max(0.0, low - margin) if low > 0 else low - margin), high + margin
