"""The front as rows: for the terminal, JSON and MLflow's tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cbam_search.metrics import error_name, metric, names_of
from cbam_search.records.front import front_of
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Trial


def front_table(trials: Iterable[Trial], objectives: Sequence[ObjectiveAxis]) -> list[dict[str, Any]]:
    """One row a trial: the front first, from the cheap to the costly end, then the others by rank, then those without a rank.

    Keys: `trial`, `label`, `published`, every objective by its name (as recorded, not in per cent; None unless the trial is
    complete), `gflops` (1e9 multiply-adds), `params`, `pareto_rank` (0 is the front; None unless complete), `state`, `epochs`,
    `origin` (who proposed it), `numerics_version` (of the code that trained it), `replayed_from` (`X, trial 3` where study X
    trained it, else None). Each trained objective has `..._standard_error` beside it. Where latencies were measured,
    `latency_ms` and `latency_spread_ms` (half the interquartile range), of all that have one.
    """
    trials = list(trials)
    measured = [
        name for name in names_of("measured") if any(trial.outcome and name in trial.outcome.metrics for trial in trials)
    ]
    ranks = front_of(trials, objectives).ranks
    last = objectives[-1]

    def order(trial: Trial) -> tuple[float, float, int]:
        rank = float(ranks.get(trial.number, float("inf")))
        value = (trial.values or {}).get(last.name, float("inf"))
        return rank, -value if last.maximise and trial.values else value, trial.number

    return [_row(trial, objectives, ranks.get(trial.number), measured) for trial in sorted(trials, key=order)]


def _row(trial: Trial, objectives: Sequence[ObjectiveAxis], rank: int | None, measured: Sequence[str]) -> dict[str, Any]:
    """measured: metrics that some trial's architecture was measured for; each comes with its error."""
    values = trial.values or {}
    known = trial.outcome.metrics if trial.outcome else {}
    errors = {
        error_name(objective.name): known[objective.name].standard_error if objective.name in known else None
        for objective in objectives
        if metric(objective.name).source == "trained"
    }
    return {
        "trial": trial.number,
        "label": trial.candidate.label,
        "published": trial.is_published,
        **{objective.name: values.get(objective.name) for objective in objectives},
        **errors,
        **{name: known[name].value if name in known else None for name in measured},
        **{error_name(name): known[name].standard_error if name in known else None for name in measured},
        "gflops": trial.candidate.gflops,
        "params": trial.candidate.params,
        "pareto_rank": rank,
        "state": trial.state.value,
        "epochs": trial.outcome.epochs if trial.outcome else None,
        "origin": trial.candidate.origin.value,
        "numerics_version": trial.outcome.numerics_version if trial.outcome else None,
        "replayed_from": f"{source.study}, trial {source.trial}" if (source := trial.replayed_from) else None,
    }
