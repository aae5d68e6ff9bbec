"""Words and numbers that every report writes alike: headings, values in sentences, times, durations, counts, plain tables."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from cbam_search.counted import counted
from cbam_search.metrics import metric

_MOST_DECIMALS = 6
_DIGITS_WITHOUT_POWER = 15


def heading(name: str) -> str:
    """What a column of this objective or metric is called."""
    return metric(name).heading


def inline(name: str, value: float) -> str:
    """A recorded value in a sentence: `accuracy 97.22 %`, `0.001234 GFLOPs`, `12,345 params`."""
    text = metric(name).text(value)
    return f"{text} {heading(name)}" if metric(name).source == "known" else f"{heading(name)} {text}"


def duration(seconds: float) -> str:
    """Minutes and seconds (0:41), with hours (1:02:03) and days (2 days 1:02:03) where there are any."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{counted(days, 'day')} {hours}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(seconds: float) -> str:
    """Seconds since 1970 by this machine's clock and time zone: `2026-11-27 17:58:13`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def large_number(number: int) -> str:
    """All digits, and beyond 15 of them the power of ten as well: `1,234,567,890,123,456 (about 1.23e15)`."""
    digits = str(number)
    if len(digits) <= _DIGITS_WITHOUT_POWER:
        return f"{number:,}"
    return f"{number:,} (about {digits[0]}.{digits[1:3]}e{len(digits) - 1})"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 1) -> Iterator[str]:
    """Lines of a table: the first `names` columns on the left, figures on the right."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        cells = [
            cell.ljust(width) if column < names else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(cells).rstrip()


def hypervolume_text(hypervolume: float | None) -> str:
    """`0.8762`, or that it has no meaning yet."""
    return "not defined yet" if hypervolume is None else f"{hypervolume:.4f}"


def with_spread(value: float, spread: float, plus_minus: str) -> str:
    """`3.21 +/- 0.05`: as many decimals as show one digit of the spread."""
    decimals = min(_MOST_DECIMALS, max(0, -math.floor(math.log10(spread)))) if spread > 0 else _MOST_DECIMALS
    return f"{value:.{decimals}f} {plus_minus} {spread:.{decimals}f}"
