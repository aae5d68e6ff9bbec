"""A study as its ledger tells it: the one fold of its events.

Displays, MLflow, budgets, rungs and samplers ask it. It is the same however often an event is repeated, and from wherever it is
folded. One thread folds; others that read it hold `lock` meanwhile.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cbam_search.records.curves import Curves
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
from cbam_search.records.time_spent import TimeSpent
from cbam_search.records.trials import Trial, TrialState, evaluation_id
from cbam_search.training.numerics import NUMERICS_VERSION


class StudyView(Curves):
    """Everything that the events so far come to; of the epochs see `Curves`.

    trials: by number.
    running: numbers of the trials that this session has started and that have not ended.
    waiting: those of them that wait for something outside of the study, by number: since when, and what for.
    died: why the last worker of a trial in training died, by number.
    front, hypervolume: as last noted; hypervolume is None while undefined.
    hypervolumes: after each training that ended, since the study was last extended.
    stood_still: whether the study ended because its hypervolume stood still. It holds whatever trainings that were under way
    brought since.
    closed: why the study closed; None while it is open.
    time: how long it was driven.
    ended_epochs: of the trainings that ended.
    replayed: trainings that were taken from the evaluation cache.
    weights_removed: trials that lost their weights while the study went on.
    evaluations: those that are not the search's own, by id.
    numerics_version: of the code that drove it last; None before the first driver.
    """

    def __init__(self, trials: Iterable[Trial] = (), *, seed: int = 0) -> None:
        """trials: recorded elsewhere, before the first event. seed: of the search's trainings."""
        super().__init__()
        self.lock = threading.RLock()
        self.seed = seed
        self.trials: dict[int, Trial] = {}
        self.running: set[int] = set()
        self.waiting: dict[int, TrialWaits] = {}
        self.died: dict[int, str] = {}
        self.front: tuple[int, ...] = ()
        self.hypervolume: float | None = None
        self.hypervolumes: list[float | None] = []
        self.closed: StudyClosed | None = None
        self.stood_still = False
        self.time = TimeSpent()
        self.ended_epochs = 0
        self.replayed = 0
        self.weights_removed: set[int] = set()
        self.evaluations: dict[str, Evaluation] = {}
        self.numerics_version: int | None = None
        self._numerics: dict[int, int | None] = {}
        """By trial, of the session that started it last."""
        self._counts: Counter[tuple[TrialState, bool]] = Counter()
        self._noted_ends: set[int] = set()
        self._ends_before_window = 0
        """Trainings that had ended when the study was last extended."""
        for trial in trials:
            self.put(trial)

    def apply(self, event: Event) -> bool:
        """Take in one event; False when it repeats what was known, as events may after a crash."""
        with self.lock:
            news = self._apply(event)
            self.time.add(event)
        return news

    def _apply(self, event: Event) -> bool:
        if isinstance(event, ArchitectureMeasured | EpochFinished | TrialStarted | TrialFinished):
            self.waiting.pop(event.trial, None)
        match event:
            case EpochFinished():
                return self.add_epoch(event)
            case TrialStarted():
                return self._start(event)
            case TrialSkipped():
                self._take_back_another(event.trial, event.digest)
                first = event.trial not in self.trials
                self.put(Trial(event.trial, event.candidate, event.outcome, attempts=0))
                return first
            case TrialWaits():
                return self._wait(event)
            case ArchitectureMeasured():
                return self.add_measured(event.trial, event.metrics)
            case TrialFinished():
                return self._finish(event)
            case EvaluationFinished():
                return self._add_evaluation(event.evaluation)
            case FrontUpdated():
                self.front, self.hypervolume = event.front, event.hypervolume
                del self.hypervolumes[max(0, len(self._noted_ends) - 1 - self._ends_before_window) :]
                self.hypervolumes.append(event.hypervolume)
            case StudyOpened():
                self.closed = None
                self.running.clear()
                self.waiting.clear()
                self.died.clear()
                self.numerics_version = event.numerics_version
            case StudyExtended():
                # What stood still before says nothing of the trainings to come.
                self.hypervolumes.clear()
                self._ends_before_window = len(self._noted_ends)
                self.stood_still = False
            case StudyClosed():
                self.closed = event
                self.stood_still = self.stood_still or event.reason == "hypervolume"
            case WeightsRemoved():
                news = not self.weights_removed.issuperset(event.trials)
                self.weights_removed.update(event.trials)
                return news
        return True

    def put(self, trial: Trial) -> None:
        """In place of what was known of it; counted here, since every event of thousands asks."""
        if before := self.trials.get(trial.number):
            self._count(before, -1)
        self._count(trial, 1)
        self.trials[trial.number] = trial

    def _count(self, trial: Trial, step: int) -> None:
        """step: 1 for a trial that comes, -1 for one that goes."""
        self._counts[trial.state, trial.was_trained] += step
        self.replayed += step * (trial.replayed_from is not None)
        self.ended_epochs += step * (trial.outcome.epochs if trial.outcome else 0)

    def reconcile(self, recorded: Mapping[int, Trial]) -> None:
        """Where the storage of trials knows better: a crash of the machine may have taken back its last numbers, or kept the
        ledger from noting them.
        """
        for number in [number for number in self.trials if number not in recorded]:
            self._take_back(number)
        for number, trial in recorded.items():
            known = self.trials.get(number)
            if known is not None and known.candidate.architecture != trial.candidate.architecture:
                self._take_back(number)
            elif known is not None:
                trial = replace(trial, evaluations=known.evaluations)
            if known != trial:
                self.put(trial)
        self.trials = {number: self.trials[number] for number in recorded}

    def _take_back(self, number: int) -> None:
        self._count(self.trials.pop(number), -1)
        self.forget_epochs(number)
        self.forget_measured(number)
        self._numerics.pop(number, None)
        self._noted_ends.discard(number)
        self.running.discard(number)
        self.weights_removed.discard(number)
        self.front = tuple(member for member in self.front if member != number)

    def _take_back_another(self, number: int, digest: str) -> None:
        """For a candidate under a number that another one had, before a crash of the machine took it back."""
        if number in self.trials and self.trials[number].candidate.digest != digest:
            self._take_back(number)

    def _start(self, event: TrialStarted) -> bool:
        event.candidate.architecture.trust_digest(event.digest)
        self._take_back_another(event.trial, event.digest)
        known = self.trials.get(event.trial)
        own = evaluation_id(event.digest, self.seed if event.seed is None else event.seed)
        others = known.evaluations[1:] if known else ()
        if event.anew:
            self.forget_epochs(event.trial)
        self.put(Trial(event.trial, event.candidate, attempts=event.attempt, evaluations=(own, *others)))
        self.running.add(event.trial)
        if event.died is not None:
            self.died[event.trial] = event.died
        self._noted_ends.discard(event.trial)
        self._numerics[event.trial] = self.numerics_version
        return known is None or known.attempts != event.attempt

    def _wait(self, event: TrialWaits) -> bool:
        """Whether that is news: a trial that goes on had waited."""
        if event.why is None:
            return self.waiting.pop(event.trial, None) is not None
        before = self.waiting.get(event.trial)
        self.waiting[event.trial] = event
        return before is None or before.why != event.why

    def _finish(self, event: TrialFinished) -> bool:
        self._noted_ends.add(event.trial)
        self.running.discard(event.trial)
        self.died.pop(event.trial, None)
        trial = self.trials.get(event.trial)
        if trial is None:  # the storage knows nothing of it, and it knows better
            return False
        self.put(replace(trial, outcome=event.outcome))
        return trial.outcome != event.outcome

    def _add_evaluation(self, evaluation: Evaluation) -> bool:
        assert evaluation.architecture is not None
        own = evaluation_id(evaluation.architecture.digest, evaluation.seed)
        first = own not in self.evaluations
        self.evaluations[own] = evaluation
        trial = self.trials.get(evaluation.trial) if evaluation.trial is not None else None
        if trial is not None and own not in trial.evaluations:
            self.put(replace(trial, evaluations=(*trial.evaluations, own)))
        return first

    @property
    def finished(self) -> int:
        """Trainings that ended, in whatever state: the step of every figure that is followed over time."""
        return sum(self.states.values())

    @property
    def states(self) -> Counter[TrialState]:
        """How many trainings ended in each state."""
        return Counter(
            {
                state: many
                for (state, trained), many in self._counts.items()
                if trained and many and state is not TrialState.RUNNING
            }
        )

    @property
    def skipped(self) -> Counter[TrialState]:
        """How many proposals needed no training, by reason."""
        return Counter({state: many for (state, trained), many in self._counts.items() if not trained and many})

    def count(self, state: TrialState, *, trained: bool) -> int:
        """Trials in `state`: trainings, or else proposals that needed none."""
        return self._counts[state, trained]

    def unfinished(self) -> list[int]:
        """Numbers of the trials that have no outcome."""
        return [number for number, trial in self.trials.items() if trial.outcome is None]

    def end_is_noted(self, number: int) -> bool:
        """Whether the ledger tells how the trial's training ended."""
        return number in self._noted_ends

    def is_of_other_numerics(self, number: int) -> bool:
        """Whether a trial was started by a version of this package that trains otherwise."""
        return self._numerics.get(number) not in (None, NUMERICS_VERSION)

    def evaluation(self, number: int) -> Evaluation:
        """A trial's own training, as far as it is recorded."""
        trial = self.trials[number]
        return Evaluation.model_construct(
            architecture=trial.candidate.architecture,
            seed=self.seed,
            key=None,
            trial=number,
            measured=self.measured(number),
            epochs=self.epochs(number),
            outcome=trial.outcome,
            weights=None,
            predictions=None,
            trained_by=None,
        )
