"""Progress as plain lines: a header, a line a finished trial, one a trial that starts again, a line at the end."""

from __future__ import annotations

from collections.abc import Iterable

from cbam_search.counted import counted
from cbam_search.records.events import TrialStarted, TrialWaits
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import Origin, Outcome, Trial, TrialState
from cbam_search.records.view import StudyView
from cbam_search.report.replayed import replayed_text
from cbam_search.report.tally import Tally
from cbam_search.report.wording import duration, hypervolume_text, inline

_REASON_LENGTH = 200
_TRAINED = (TrialState.COMPLETE, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED, TrialState.INFEASIBLE)


def header_line(tally: Tally, concurrent: int) -> str:
    """What is about to run, and what is there already."""
    manifest = tally.manifest
    done = f"; {tally.view.finished} finished before" if tally.view.finished else ""
    return (
        f"study {manifest.name}: {counted(manifest.trials_allowed, 'training')} of {counted(manifest.epochs, 'epoch')}, "
        f"{concurrent} at a time, on {counted(manifest.data.train, 'image')}, validated on {manifest.data.validation:,}{done}"
    )


def finished_line(tally: Tally, number: int, seconds_left: float | None) -> str:
    """One finished trial, with what it means for the front."""
    view = tally.view
    trial = view.trials[number]
    source = trial.replayed_from
    standing = (
        ("published", trial.is_published),
        ("warm start", trial.candidate.origin is Origin.WARM_START),
        (f"replayed from study {source.study}, trial {source.trial}" if source else "", source is not None),
        ("on the front", number in view.front),
    )
    marks = [text for text, holds in standing if holds]
    marked = f" ({', '.join(marks)})" if marks else ""
    left = "estimating time left" if seconds_left is None else f"{duration(seconds_left)} left"
    return (
        f"[{view.finished}/{tally.manifest.trials_allowed}] {outcome_text(trial, tally.manifest)} - "
        f"{trial.candidate.label}{marked}; hypervolume {hypervolume_text(view.hypervolume)}, {left}"
    )


def end_line(tally: Tally, elapsed_seconds: float) -> str:
    """All counts, in one sentence."""
    view = tally.view
    skipped = f"; skipped: {skipped_text(view)}" if view.skipped else ""
    text = replayed_text(view.trials.values())
    replayed = f"; {text}" if text else ""
    return (
        f"{view.finished} of {counted(tally.manifest.trials_allowed, 'training')} finished, {duration(elapsed_seconds)} elapsed"
        f": {states_text(view)}{skipped}{replayed}; "
        f"front of {len(view.front)}, hypervolume {hypervolume_text(view.hypervolume)}"
    )


def again_text(event: TrialStarted, view: StudyView, manifest: StudyManifest) -> str:
    """`trial 4 goes on, attempt 2: 20 of 30 epochs are recorded`, of a trial whose worker or driver died, and why that died.

    Its last checkpoint may be older than its last recorded epoch: what lies between is trained again.
    """
    recorded = view.epochs_recorded(event.trial)
    again = (
        f"trial {event.trial} goes on, attempt {event.attempt}: {recorded} of {counted(manifest.epochs, 'epoch')} are recorded"
        if recorded
        else f"trial {event.trial} starts again, attempt {event.attempt}, from its first epoch"
    )
    return f"{again}; its worker died: {shortened(event.died)}" if event.died else again


def waits_text(event: TrialWaits) -> str:
    """`trial 4 waits for 1 CPU of the Ray cluster (0 of 8 CPUs free)`, or that it goes on."""
    return f"trial {event.trial} waits for {event.why}" if event.why else f"trial {event.trial} waits no longer"


def shortened(reason: str) -> str:
    """A reason on one line, its beginning where it is long."""
    return " ".join(reason.split())[:_REASON_LENGTH]


def outcome_text(trial: Trial, manifest: StudyManifest) -> str:
    """`trial 15 complete: accuracy 97.22 %, 0.001234 GFLOPs`, or how far it came and why it ended."""
    assert trial.outcome is not None
    return f"trial {trial.number} {trial.state.value}: {', '.join(_particulars(trial.outcome, manifest))}"


def states_text(view: StudyView, *, always: Iterable[TrialState] = (TrialState.COMPLETE,)) -> str:
    """How many trainings ended in each state; those of `always` even when there are none."""
    states = view.states
    return ", ".join(f"{states[state]} {state.value}" for state in _TRAINED if states[state] or state in always)


def skipped_text(view: StudyView) -> str:
    """How many proposals needed no training, by reason; empty when there was none."""
    return ", ".join(f"{number} {state.value}" for state, number in sorted(view.skipped.items()) if number)


def _particulars(outcome: Outcome, manifest: StudyManifest) -> list[str]:
    if outcome.values is not None:
        return [inline(objective.name, outcome.values[objective.name]) for objective in manifest.objectives]
    words = [shortened(outcome.reason or "no reason given")]
    if "accuracy" in outcome.metrics:
        words.append(inline("accuracy", outcome.metrics["accuracy"].value))
    return words
