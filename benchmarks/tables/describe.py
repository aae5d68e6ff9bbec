"""What is in a table: how it was made, how far accuracies spread, and the front by mean test accuracy.

python benchmarks/tables/describe.py benchmarks/tables/digits.parquet
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from cbam_search.pareto import ranks
from cbam_search.records.table import Table, read_table


def spread(accuracy: np.ndarray) -> tuple[float, float]:
    """Standard deviations, in points, of seeds about their architecture's mean, and of those means without the seeds' part.

    accuracy: (A, S) in [0, 1]; architectures with a NaN are left out.
    """
    whole = 100 * accuracy[np.isfinite(accuracy).all(axis=1)]
    seeds = whole.var(axis=1, ddof=1).mean()
    means = whole.mean(axis=1).var(ddof=1) - seeds / whole.shape[1]
    return float(seeds**0.5), float(max(means, 0.0) ** 0.5)


def describe(table: Table) -> None:
    made, data = table.metadata, table.metadata.data
    trained = int(table.trained.sum())
    print(
        f"{made.name}: {len(table.entries):,} of {made.architectures:,} networks, {trained:,} trainings of seeds {made.seeds}"
    )
    print(f"images: {data.train:,} train, {data.validation:,} validation, {data.test:,} test; {made.epochs} epochs")
    print(f"diverged: {int((np.isnan(table.test_accuracy) & table.trained).sum())}")
    for session, times in Counter((run.hardware, run.workers, str(run.versions)) for run in made.sessions).items():
        print(f"made in {times} run(s) on {session[0]}, {session[1]} workers, {session[2]}")
    for name, seconds in (("processor", table.processor_seconds), ("wall-clock", table.seconds)):
        per_training = np.nansum(seconds, axis=2)[table.trained]
        print(f"{name} seconds: {per_training.sum():,.0f} in all, {per_training.mean():.2f} each")
    last = table.validation_accuracy[:, :, -1]
    whole = np.isfinite(table.test_accuracy).all(axis=1)
    test_mean = np.where(whole, table.test_accuracy.mean(axis=1), np.nan)
    for name, accuracy in (("validation", last), ("test", table.test_accuracy)):
        seeds, means = spread(accuracy)
        low, high = (100 * end(accuracy.mean(axis=1)) for end in (np.nanmin, np.nanmax))
        print(f"{name} accuracy: {low:.1f} to {high:.1f} %; seeds deviate by {seeds:.2f}, true means by {means:.2f} points")
    correlations = [
        float(spearmanr(table.validation_accuracy[whole, 0, epoch], test_mean[whole]).statistic) for epoch in range(made.epochs)
    ]
    print("rank correlation of one seed's validation accuracy with mean test accuracy, by epoch:")
    print("  " + " ".join(f"{value:.2f}" for value in correlations))
    by_backbone: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(table.entries):
        by_backbone[entry.decoded().backbone.name].append(place)
    for name, places in by_backbone.items():
        seeds, means = spread(table.test_accuracy[places])
        mean = 100 * np.nanmean(test_mean[places])
        print(
            f"  {name:22s} {len(places):4d} architectures, mean {mean:5.1f} %; seeds {seeds:.2f}, true means {means:.2f} points"
        )
    places = np.flatnonzero(whole)
    gflops = np.array([entry.gflops for entry in table.entries])
    on_front = places[ranks(np.column_stack([test_mean, gflops])[places], [True, False]) == 0]
    print("front by mean test accuracy of all seeds:")
    for place in sorted(on_front, key=lambda place: gflops[place]):
        entry = table.entries[place]
        placed = " ".join(f"{site.name}={spec.kind}" for site, spec in entry.decoded().placed)
        mark = "*" if entry.published else " "
        print(f" {mark}{100 * test_mean[place]:6.2f} %  {1e6 * gflops[place]:7.1f} k multiply-adds  {entry.label:34s} {placed}")
    print("* published design")


if __name__ == "__main__":
    describe(read_table(Path(sys.argv[1])))
