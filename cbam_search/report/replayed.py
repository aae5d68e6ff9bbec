"""How many results were not trained but replayed, and from where: said wherever a study shows its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from cbam_search.counted import counted
from cbam_search.records.events import StudyClosed
from cbam_search.records.trials import Trial

_LISTED_AT_MOST = 3


def replayed_by_study(trials: Iterable[Trial]) -> dict[str, int]:
    """Replayed results by the study that trained them, the most first."""
    names = Counter(trial.replayed_from.study for trial in trials if trial.replayed_from)
    return dict(names.most_common())


def replayed_text(trials: Iterable[Trial]) -> str | None:
    """`12 of 200 results replayed from study X`; None where every result is the study's own."""
    ended = [trial for trial in trials if trial.was_trained and trial.outcome is not None]
    return _text(replayed_by_study(ended), len(ended))


def replayed_json(trials: Iterable[Trial]) -> dict[str, Any]:
    """For programs. Keys: `results` (trainings that ended), `replayed`, and `from`, the number by study."""
    ended = [trial for trial in trials if trial.was_trained and trial.outcome is not None]
    by_study = replayed_by_study(ended)
    return {"results": len(ended), "replayed": sum(by_study.values()), "from": by_study}


def with_replays(closed: StudyClosed, trials: Iterable[Trial]) -> StudyClosed:
    """The same end, with the replays in its message."""
    text = replayed_text(trials)
    return closed.model_copy(update={"message": f"{closed.message}; {text}"}) if text else closed


def _text(by_study: Mapping[str, int], results: int) -> str | None:
    if not by_study:
        return None
    if len(by_study) == 1:
        where = f"study {next(iter(by_study))}"
    else:
        named = [f"{name} ({number})" for name, number in list(by_study.items())[:_LISTED_AT_MOST]]
        more = len(by_study) - len(named)
        where = f"studies {', '.join(named)}" + (f" and {more} more" if more else "")
    return f"{sum(by_study.values()):,} of {counted(results, 'result')} replayed from {where}"
