from __future__ import annotations

import pytest

from cbam_search.counted import counted
from cbam_search.report.wording import duration, heading, inline, large_number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0:00"),
        (0.4, "0:00"),
        (41, "0:41"),
        (59.6, "1:00"),
        (3599.7, "1:00:00"),
        (3723, "1:02:03"),
        (86400 + 3723, "1 day 1:02:03"),
        (2 * 86400, "2 days 0:00:00"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_large_numbers_have_their_power_of_ten_too() -> None:
    assert large_number(10**6) == "1,000,000"
    assert large_number(448745930944416604512) == "448,745,930,944,416,604,512 (about 4.48e20)"


def test_values_in_sentences_carry_their_unit() -> None:
    assert inline("accuracy", 0.97222) == "accuracy 97.22 %"
    assert inline("gflops", 0.0012344) == "0.001234 GFLOPs"
    assert inline("params", 12345) == "12,345 params"
    assert heading("balanced_accuracy") == "balanced accuracy"
    assert (counted(1, "image"), counted(1347, "image")) == ("1 image", "1,347 images")
