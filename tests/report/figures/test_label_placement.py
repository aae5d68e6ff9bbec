from __future__ import annotations

from itertools import combinations

from cbam_search.report.figures.label_placement import FAR, NEAR, Box, Name, place_names

FRAME = Box(0, 0, 1000, 500)


def test_names_of_close_dots_do_not_cover_each_other() -> None:
    names = [Name(x, y, width=120, height=14, required=True) for x, y in ((500, 250), (506, 254), (500, 262), (496, 244))]
    places = place_names(names, [], FRAME, NEAR + FAR)
    boxes = [name.at(place) for name, place in zip(names, places, strict=True) if place]
    assert len(boxes) == 4
    assert all(a.overlap(b) == 0 for a, b in combinations(boxes, 2))


def test_names_stay_in_the_frame() -> None:
    for x, y in ((0, 0), (1000, 0), (0, 500), (1000, 500)):
        (place,) = place_names([Name(x, y, 120, 14, required=True)], [], FRAME, NEAR)
        assert place is not None
        box = Name(x, y, 120, 14, required=True).at(place)
        assert box.overlap(FRAME) == box.area


def test_where_everything_is_taken_only_required_names_are_written() -> None:
    names = [Name(500, 250, 60, 14, required=False), Name(500, 250, 60, 14, required=True)]
    first, second = place_names(names, [FRAME], FRAME, NEAR)
    assert first is None
    assert second is not None
