from __future__ import annotations

import pytest

from cbam_search.data.examples import Examples


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (1, "0.png (torn)"),
        (3, "0.png (torn), 1.png (torn), 2.png (torn)"),
        (1000, "0.png (torn), 1.png (torn), 2.png (torn) and 997 more"),
    ],
)
def test_the_first_three_are_named_and_the_others_counted(count: int, shown: str) -> None:
    examples = Examples()
    for number in range(count):
        examples.add(lambda number=number: f"{number}.png", "torn")
    assert str(examples) == shown
