"""What happened in a study as plain lines, one an event: of all its trials without their epochs, or of one trial with them."""

from __future__ import annotations

from collections.abc import Mapping

from cbam_search.counted import counted
from cbam_search.metrics import Measured, metric
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.events import (
    ArchitectureMeasured,
    EpochFinished,
    EvaluationFinished,
    Event,
    FrontUpdated,
    StudyClosed,
    StudyExtended,
    StudyOpened,
    TrialFinished,
    TrialSkipped,
    TrialStarted,
    TrialWaits,
    WeightsRemoved,
)
from cbam_search.records.manifest import StudyManifest
from cbam_search.records.trials import Trial
from cbam_search.records.view import StudyView
from cbam_search.report.terminal.progress_lines import again_text, outcome_text, waits_text
from cbam_search.report.wording import duration, hypervolume_text, inline, with_spread


class EventLines:
    """Folds a study's events into `view`, and says each in a line. trial: the only one that is told of; None for the study."""

    def __init__(self, manifest: StudyManifest, *, trial: int | None = None) -> None:
        self.view = StudyView(seed=manifest.seed)
        self._manifest = manifest
        self._trial = trial
        self._front: tuple[int, ...] = ()
        """As it was said last."""

    def add(self, event: Event) -> str | None:
        """One more event, as a line; None where there is nothing to say, as when it repeats what was known after a crash."""
        news = self.view.apply(event)
        if not news:
            return None
        return self._of_study(event) if self._trial is None else self._of_trial(event, self._trial)

    def _of_study(self, event: Event) -> str | None:
        match event:
            case EpochFinished():
                return None
            case StudyOpened():
                return self._opened(event)
            case StudyExtended():
                within = f" within {event.hours:g} hours" if event.hours is not None else ""
                return f"the study may have {counted(event.trials, 'training')} in all{within}"
            case StudyClosed():
                return f"closed ({event.reason}): {event.message}"
            case FrontUpdated():
                return self._front_line(event)
            case WeightsRemoved():
                return f"weights removed, to stay within records.keep_gib: {_trials(event.trials)}"
            case _:
                return self._of_training(event)

    def _of_trial(self, event: Event, number: int) -> str | None:
        match event:
            case FrontUpdated():
                was, self._front = number in self._front, event.front
                if was == (number in event.front):
                    return None
                return f"trial {number} is {'no longer ' if was else ''}on the front"
            case WeightsRemoved():
                return f"weights of trial {number} removed" if number in event.trials else None
            case EpochFinished():
                return self._epoch(event) if event.trial == number else None
            case EvaluationFinished():
                return self._of_training(event) if event.evaluation.trial == number else None
            case TrialStarted() | TrialWaits() | TrialSkipped() | ArchitectureMeasured() | TrialFinished():
                return self._of_training(event) if event.trial == number else None
            case _:
                return None

    def _of_training(self, event: Event) -> str | None:
        match event:
            case TrialStarted():
                again = event.attempt > 1
                text = again_text(event, self.view, self._manifest) if again else f"trial {event.trial} starts"
                return f"{text} - {event.label}"
            case TrialWaits():
                return waits_text(event)
            case TrialSkipped():
                return f"trial {event.trial} skipped, {_skipped(event)} - {event.label}"
            case ArchitectureMeasured():
                return f"trial {event.trial} measured: {_measured(event.metrics)}"
            case TrialFinished():
                return self._finished(self.view.trials[event.trial])
            case EvaluationFinished():
                return _evaluated(event.evaluation)
        return None

    def _opened(self, event: StudyOpened) -> str:
        trainings = counted(self._manifest.trials_allowed, "training")
        if event.resumed:
            return f"resumed, with {self.view.finished} of {trainings} finished"
        return f"opened: {trainings} of {counted(self._manifest.epochs, 'epoch')}"

    def _front_line(self, event: FrontUpdated) -> str | None:
        if event.front == self._front:
            return None
        self._front = event.front
        return f"front of {len(event.front)}, hypervolume {hypervolume_text(event.hypervolume)}: {_trials(event.front)}"

    def _epoch(self, event: EpochFinished) -> str:
        # Floats of their own: a metric that is not registered, such as a loss, is shown as it is.
        metrics = ", ".join(inline(name, value) for name, value in event.trained_metrics.items())
        replayed = ", replayed" if event.replayed else ""
        return f"trial {event.trial} epoch {event.epoch} of {self._manifest.epochs}: {metrics}, {event.seconds:.1f} s{replayed}"

    def _finished(self, trial: Trial) -> str:
        assert trial.outcome is not None
        source = trial.replayed_from
        took = f"replayed from study {source.study}, trial {source.trial}" if source else duration(trial.outcome.seconds)
        return (
            f"{outcome_text(trial, self._manifest)} - {trial.candidate.label}, after {counted(trial.outcome.epochs, 'epoch')} "
            f"({took})"
        )


def _skipped(event: TrialSkipped) -> str:
    outcome = event.outcome
    if outcome.duplicate_of is not None:
        return f"{outcome.state.value} of trial {outcome.duplicate_of}"
    return f"{outcome.state.value}: {' '.join(outcome.reason.split())}" if outcome.reason else outcome.state.value


def _measured(metrics: Mapping[str, Measured]) -> str:
    return ", ".join(
        inline(name, entry.value)
        if not entry.standard_error
        else f"{metric(name).heading} {with_spread(entry.value, entry.standard_error, '+/-')} {metric(name).unit}".rstrip()
        for name, entry in metrics.items()
    )


def _evaluated(evaluation: Evaluation) -> str:
    accuracy = evaluation.outcome.value("accuracy") if evaluation.outcome else None
    result = f", {inline('accuracy', accuracy)}" if accuracy is not None else ""
    whose = f"trial {evaluation.trial}" if evaluation.trial is not None else evaluation.architecture
    label = whose if isinstance(whose, str) else whose.label if whose else "a network"
    return f"{label} trained with seed {evaluation.seed}: {evaluation.state.value}{result}"


def _trials(numbers: tuple[int, ...]) -> str:
    return f"trial{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"
