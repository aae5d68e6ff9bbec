"""Where names go beside their dots, so that they cover little: plain geometry in pixels, y upwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from cbam_search.report.figures.front_points import Dot, Group, Plane

DOT_RADIUS_PIXELS = 6.0
LINE_WIDTH_PIXELS = 3.0

ToPixels = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Place:
    """A corner or side of a dot; distance: from its centre, as a multiple of the plain distance."""

    across: Literal[-1, 0, 1]
    up: Literal[-1, 0, 1]
    distance: float = 1.0


NEAR = (
    Place(1, -1),
    Place(1, 1),
    Place(-1, 1),
    Place(-1, -1),
    Place(1, 0),
    Place(-1, 0),
    Place(0, 1),
    Place(0, -1),
)
"""In order of preference."""

FAR = tuple(Place(place.across, place.up, 2.5) for place in NEAR[:4])


@dataclass(frozen=True)
class Box:
    """left, bottom, right, top."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)

    def overlap(self, other: Box) -> float:
        """Area shared with `other`, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)


@dataclass(frozen=True)
class Name:
    """A text of known size that wants to stand beside (x, y); one that is not required gives way where there is no room."""

    x: float
    y: float
    width: float
    height: float
    required: bool

    def at(self, place: Place) -> Box:
        """The text's box at `place`."""
        gap = (DOT_RADIUS_PIXELS + 3.0) * place.distance
        left = self.x + (gap if place.across > 0 else -gap - self.width if place.across < 0 else -self.width / 2)
        if place.across and place.up:
            gap /= 2
        bottom = self.y + (gap if place.up > 0 else -gap - self.height if place.up < 0 else -self.height / 2)
        return Box(left, bottom, left + self.width, bottom + self.height)


def named_dots(plane: Plane) -> list[Dot]:
    """Dots that want a name, important ones first; of dots that share name and place, one."""
    named = {
        (dot.name, dot.x, dot.y): dot
        for dot in plane.dots
        if dot.group is Group.FRONT or (dot.published and dot.group is Group.DOMINATED)
    }
    return sorted(named.values(), key=lambda dot: (not dot.published, dot.group is not Group.FRONT, dot.x))


def obstacles(plane: Plane, to_pixels: ToPixels) -> list[Box]:
    """Boxes around every dot and every segment of the front's line."""
    dots = [_around(to_pixels(dot.x, dot.y), to_pixels(dot.x, dot.y), DOT_RADIUS_PIXELS) for dot in plane.dots]
    corners = [to_pixels(x, y) for x, y in plane.line]
    return dots + [_around(start, end, LINE_WIDTH_PIXELS / 2) for start, end in pairwise(corners)]


def place_names(names: Sequence[Name], taken: Iterable[Box], frame: Box, places: Sequence[Place]) -> list[Place | None]:
    """The place of each name, in the order given: where it covers least of what is taken, and stays in the frame."""
    taken = list(taken)
    chosen: list[Place | None] = []
    for name in names:
        costs = [_cost(name.at(place), taken, frame) for place in places]
        best = min(range(len(places)), key=lambda index: costs[index])
        if costs[best] > 0 and not name.required:
            chosen.append(None)
            continue
        chosen.append(places[best])
        taken.append(name.at(places[best]))
    return chosen


def _cost(box: Box, taken: Sequence[Box], frame: Box) -> float:
    return sum(box.overlap(other) for other in taken) + 2 * (box.area - box.overlap(frame))


def _around(start: tuple[float, float], end: tuple[float, float], margin: float) -> Box:
    xs, ys = zip(start, end, strict=True)
    return Box(min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin)
