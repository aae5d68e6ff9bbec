"""The front as rows: for the terminal, JSON and MLflow's tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cbam_search.cost.config import LATENCY, LATENCY_SPREAD
from cbam_search.records.front import front_of
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Origin, Trial


def front_table(trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis]) -> list[dict[str, Any]]:
    """One row a trial: the front first, from the cheap to the costly end, then the others by rank, then those without a rank.

    Keys: `trial`, `label`, `published`, every objective by its name (as recorded, not in per cent; None unless the trial is
    complete), `gflops` (1e9 multiply-adds), `params`, `pareto_rank` (0 is the front; None unless complete), `state`, `epochs`,
    `origin` (who proposed it), `replayed_from` (`X, trial 3` where study X trained it, else None).
    Where latencies were measured, `latency_ms` and `latency_spread_ms` (half the interquartile range), of all that have one.
    """
    trials = list(trials)
    timed = any(LATENCY in trial.outcome.metrics for trial in trials if trial.outcome)
    ranks = front_of(trials, objectives).ranks
    last = objectives[-1]

    def order(trial: Trial) -> tuple[float, float, int]:
        rank = float(ranks.get(trial.number, float("inf")))
        value = (trial.values or {}).get(last.name, float("inf"))
        return rank, -value if last.maximise and trial.values else value, trial.number

    return [_row(trial, objectives, ranks.get(trial.number), timed=timed) for trial in sorted(trials, key=order)]


def is_published(trial: Trial) -> bool:
    """Whether the trial is a published design, whoever proposed it."""
    return trial.candidate.origin is Origin.PUBLISHED or trial.candidate.architecture.published_name is not None


def _row(trial: Trial, objectives: Sequence[ObjectiveAxis], rank: int | None, *, timed: bool) -> dict[str, Any]:
    values = trial.values or {}
    measured = trial.outcome.metrics if trial.outcome else {}
    return {
        "trial": trial.number,
        "label": trial.candidate.label,
        "published": is_published(trial),
        **{objective.name: values.get(objective.name) for objective in objectives},
        **({name: measured.get(name) for name in (LATENCY, LATENCY_SPREAD)} if timed else {}),
        "gflops": trial.candidate.gflops,
        "params": trial.candidate.params,
        "pareto_rank": rank,
        "state": trial.state.value,
        "epochs": trial.outcome.epochs if trial.outcome else None,
        "origin": trial.candidate.origin.value,
        "replayed_from": f"{source.study}, trial {source.trial}" if (source := trial.replayed_from) else None,
    }
