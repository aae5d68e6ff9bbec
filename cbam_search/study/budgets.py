"""What a resumed study may take: its YAML, what it was extended to before, and what is asked for now."""

from __future__ import annotations

from dataclasses import dataclass

from cbam_search.errors import UserError
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.study_records import StudyRecords
from cbam_search.study.config import StudyConfig

MOST_TRIALS = 10**9


@dataclass(frozen=True)
class Budget:
    """trials, hours: in all; hours None: without limit. given: those of the YAML. before: those that held so far.

    epochs: of `search.stop`, which holds beside them.
    """

    trials: int
    hours: float | None
    given: tuple[int, float | None]
    before: tuple[int, float | None]
    epochs: int | None = None


def budget_asked(
    manifest: StudyManifest, config: StudyConfig, *, trials: int | None = None, hours: float | None = None
) -> Budget:
    """What holds from now on: what is asked for here; else what the YAML says, where it was edited since; else as before.

    Raises UserError for a figure that is none.
    """
    if trials is not None and not 1 <= trials <= MOST_TRIALS:
        raise UserError(f"--trials {trials}: give the number of trainings in all, from 1 to {MOST_TRIALS:,}")
    if hours is not None and not 0 < hours < float("inf"):
        raise UserError(f"--hours {hours:g}: give the hours in all, above 0")
    given = (config.search.trials, config.search.stop.hours)
    before = (manifest.trials_allowed, manifest.hours_allowed)
    known = manifest.history[-1].given if manifest.history else before
    return Budget(
        trials=trials or (before[0] if given[0] == known[0] else given[0]),
        hours=hours or (before[1] if given[1] == known[1] else given[1]),
        given=given,
        before=before,
        epochs=config.search.stop.epochs,
    )


def apply(budget: Budget, records: StudyRecords) -> str | None:
    """Record a budget that is not the one so far; returns what the reader should know of it.

    Raises UserError where more was trained already than the budget allows.
    """
    manifest = records.manifest
    if budget.trials < records.started:
        raise UserError(
            f"study {manifest.name} has {records.started} trainings already, more than the {budget.trials} asked for by "
            f"--trials or search.trials, which are their number in all. To go on, give more than {records.started}"
        )
    if (budget.trials, budget.hours) == budget.before:
        return None
    records.extend(budget.trials, budget.hours, given=budget.given)
    within = f" within {budget.hours:g} hours" if budget.hours is not None else ""
    beside = f"; search.stop.epochs, {budget.epochs:,}, holds beside that" if budget.epochs is not None else ""
    return (
        f"study {manifest.name} may have {budget.trials:,} trainings in all{within}; {records.started:,} were started "
        f"before{_under_way(budget, records)}{beside}"
    )


def _under_way(budget: Budget, records: StudyRecords) -> str:
    """What becomes of the trainings that were started and have not ended; empty where there are none."""
    cut_off = len(records.view.unfinished())
    if not cut_off:
        return ""
    text = "1 has not ended and is" if cut_off == 1 else f"{cut_off:,} have not ended and are"
    none_new = "; no new one is started" if budget.trials == records.started else ""
    return f", of which {text} finished now{none_new}"
