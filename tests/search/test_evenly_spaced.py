"""A few out of many."""

from __future__ import annotations

from cbam_search.search.evenly_spaced import evenly_spaced


def test_all_where_there_is_room_else_from_the_first_to_the_last() -> None:
    assert evenly_spaced(3, 5) == [0, 1, 2]
    assert evenly_spaced(7, 3) == [0, 3, 6]
    assert evenly_spaced(7, 1) == [0]
