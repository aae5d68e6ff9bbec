"""The table and the picture of `search_quality.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from peers import DEFAULT, METHODS

mpl.use("Agg")
from matplotlib import pyplot as plt

TARGETS = (0.97, 0.99)
SPENT = {"epochs": "epochs", "gflop_epochs": "GFLOP-epochs", "seconds": "simulated hours"}
UNIT = {"epochs": 1.0, "gflop_epochs": 1.0, "seconds": 3600.0}
Floats = npt.NDArray[np.float64]
Traces = list[dict[str, Any]]


def write_report(raw: dict[str, Any], output: Path) -> str:
    """Write `output`.txt and .png from what `search_quality.py` found; returns the text."""
    text = "\n".join(_lines(raw)) + "\n"
    output.with_suffix(".txt").write_text(text)
    _picture(raw, output.with_suffix(".png"))
    return text


def first_reached(trace: dict[str, Any], target: float, spent: str) -> float:
    """What had been spent when the share first was at least `target`; infinite where it never was within the budget."""
    reached = np.flatnonzero(np.array(trace["share"]) >= target)
    return float(trace[spent][reached[0]]) / UNIT[spent] if len(reached) else float("inf")


def reached_for_good(trace: dict[str, Any], target: float, spent: str) -> float:
    """The same of the last time that it got there, not to fall below again within the budget."""
    below = np.flatnonzero(np.array(trace["share"]) < target)
    place = int(below[-1]) + 1 if len(below) else 0
    return float(trace[spent][place]) / UNIT[spent] if place < len(trace["share"]) else float("inf")


def _lines(raw: dict[str, Any]) -> list[str]:
    heading, traces = raw["heading"], raw["traces"]
    workers = sorted({trace["workers"] for trace in traces})
    repetitions = len({trace["repetition"] for trace in traces})
    low, middle, high = (100 * value for value in np.percentile(heading["whole_of_best"], [25, 50, 75]))
    full, budget = heading["epochs_of_a_full_training"], heading["budget_epochs"]
    lines = [
        f"command: {heading['command']}",
        f"hardware: {heading['hardware']}",
        f"versions: {json.dumps(heading['versions'])}",
        f"table {heading['table']}: {heading['architectures']:,} architectures; a full training is {full} epochs; "
        f"n = {repetitions}; searches end after {budget:,} epochs",
        "100 %: hypervolume of the front that training the whole table would choose by the same values, scored alike; that is "
        f"{middle:.1f} ({low:.1f} to {high:.1f}) % of the best front, by the true values, which nobody can know.",
        "Median (quartiles); > is beyond the budget: censored. *: this project's. `for good`: not to fall below again.",
    ]
    for count in workers:
        chosen = [trace for trace in traces if trace["workers"] == count]
        lines += ["", *_reached(chosen, count, full, budget), "", *_shares(chosen, count, full, budget)]
    return lines


def _reached(traces: Traces, workers: int, full: int, budget: int) -> list[str]:
    lines = [f"{workers} workers: what it takes to reach a share of the hypervolume"]
    for target in TARGETS:
        columns = "".join(f"{f'{title} to {100 * target:g} %':>34}" for title in (*SPENT.values(), "epochs, for good,"))
        lines.append(f"{'':34}{columns}{'reached':>10}")
        for name, group in _by_method(traces):
            cells = []
            for spent in SPENT:
                end = max((trace[spent][-1] for trace in group if trace[spent]), default=0.0) / UNIT[spent]
                values = np.array([first_reached(trace, target, spent) for trace in group])
                cells.append(f"{_spread(values, METHODS[name].budget(budget, full) if spent == 'epochs' else end):>34}")
            for_good = np.array([reached_for_good(trace, target, "epochs") for trace in group])
            cells.append(f"{_spread(for_good, METHODS[name].budget(budget, full)):>34}")
            reached = sum(np.isfinite(first_reached(trace, target, "epochs")) for trace in group)
            lines.append(f"{_title(name):34}{''.join(cells)}{f'{reached}/{len(group)}':>10}")
        lines += _ratios(traces, target)
    return lines


def _ratios(traces: Traces, target: float) -> list[str]:
    """The default search against the best of the peers, by median epochs."""
    lines = []
    for how, measure in (("first", first_reached), ("for good", reached_for_good)):
        medians = {
            name: _quantile(np.array([measure(trace, target, "epochs") for trace in group]), 0.5)
            for name, group in _by_method(traces)
        }
        for what, bare_first in (("peers", False), ("peers that begin with bare networks", True)):
            peers = {
                name: medians[name] for name in medians if METHODS[name].bare_first is bare_first and not METHODS[name].ours
            }
            best = min(peers, key=peers.__getitem__, default=None)
            if best is None or not np.isfinite([peers[best], medians.get(DEFAULT, np.inf)]).all():
                continue
            ratio = medians[DEFAULT] / peers[best]
            lines.append(f"{how}: {DEFAULT}, the default, takes {ratio:.2f} of the epochs of the best of the {what}, {best}")
    return lines


def _shares(traces: Traces, workers: int, full: int, budget: int) -> list[str]:
    marks = [mark for mark in (10 * full, 20 * full, 40 * full, 80 * full) if mark < budget] + [budget]
    lines = [f"{workers} workers: % of the hypervolume after so many epochs"]
    lines.append(f"{'':34}" + "".join(f"{mark:>24,}" for mark in marks) + f"{'trials':>10}{'ms a trial':>12}")
    for name, group in _by_method(traces):
        last = METHODS[name].budget(budget, full)
        cells = "".join(f"{_percent(at(group, 'epochs', mark)) if mark <= last else '-':>24}" for mark in marks)
        started = np.median([trace["started"] for trace in group])
        cost = np.median([1000 * trace["took_seconds"] / trace["started"] for trace in group])
        lines.append(f"{_title(name):34}{cells}{started:>10.0f}{cost:>12.1f}")
    return lines


def at(traces: Traces, spent: str, mark: float) -> Floats:
    """(n,), the share that each search had when so much was spent; 0 before its first full training."""
    shares = []
    for trace in traces:
        place = int(np.searchsorted(trace[spent], mark, side="right"))
        shares.append(trace["share"][place - 1] if place else 0.0)
    return np.array(shares)


def _by_method(traces: Traces) -> list[tuple[str, Traces]]:
    names = dict.fromkeys(trace["method"] for trace in traces)
    return [(name, [trace for trace in traces if trace["method"] == name]) for name in names]


def _title(name: str) -> str:
    return f"{name}{' *' if METHODS[name].ours else ''}"


def _spread(values: Floats, budget: float) -> str:
    """Median and quartiles of values that were seen, nothing interpolated; infinite ones are beyond the budget."""
    quartiles = [_quantile(values, share) for share in (0.25, 0.5, 0.75)]
    low, middle, high = (_number(value) if np.isfinite(value) else f"> {_number(budget)}" for value in quartiles)
    return f"{middle} ({low} to {high})"


def _quantile(values: Floats, share: float) -> float:
    return float(np.quantile(values, share, method="higher"))


def _number(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _percent(values: Floats) -> str:
    low, middle, high = 100 * np.percentile(values, [25, 50, 75])
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _picture(raw: dict[str, Any], path: Path) -> None:
    heading, traces = raw["heading"], raw["traces"]
    workers = sorted({trace["workers"] for trace in traces})
    figure, rows = plt.subplots(len(workers), len(SPENT), figsize=(16, 5 * len(workers)), squeeze=False, sharey=True)
    names = [name for name, _ in _by_method(traces)]
    colours = dict(zip(names, plt.get_cmap("tab20").colors, strict=False))
    for row, count in zip(rows, workers, strict=True):
        for axes, (spent, title) in zip(row, SPENT.items(), strict=True):
            chosen = [trace for trace in traces if trace["workers"] == count]
            end = np.median([trace[spent][-1] for trace in chosen]) / UNIT[spent]
            for name, group in _by_method(chosen):
                own_end = max(trace[spent][-1] for trace in group) / UNIT[spent]
                marks = np.geomspace(end / 60, min(end, own_end), 120)
                shares = np.array([100 * at(group, spent, mark * UNIT[spent]) for mark in marks])
                low, middle, high = np.percentile(shares, [25, 50, 75], axis=1)
                style = "-" if METHODS[name].ours else "--"
                axes.plot(
                    marks, middle, style, color=colours[name], label=_title(name), linewidth=2 if METHODS[name].ours else 1.2
                )
                if METHODS[name].ours:
                    axes.fill_between(marks, low, high, color=colours[name], alpha=0.12, linewidth=0)
            axes.axhline(99, color="black", linewidth=0.6)
            axes.set(xscale="log", xlabel=title, ylim=(88, 101), title=f"{heading['table']}, {count} workers")
        row[0].set_ylabel("% of the hypervolume, median")
    rows[0][-1].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
