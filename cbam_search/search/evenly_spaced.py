"""A few out of many, where all cannot be taken."""

from __future__ import annotations


def evenly_spaced(count: int, at_most: int) -> list[int]:
    """At most `at_most` of the indices 0 to `count` - 1, evenly from the first to the last; one alone is the first."""
    if count <= at_most:
        return list(range(count))
    if at_most == 1:
        return [0]
    return [round(index * (count - 1) / (at_most - 1)) for index in range(at_most)]
