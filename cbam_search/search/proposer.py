"""Proposals: published designs, a warm start's, then the sampler's, until the budget is used or the space is exhausted.

What needs no training never leaves this file: a candidate beyond a constraint is told to Optuna as infeasible, a duplicate of a
finished trial replays its values, one of a running trial is dropped, and the next proposal is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from cbam_search.architecture import Architecture
from cbam_search.cost.cost import CostFunction
from cbam_search.errors import DamagedFileError
from cbam_search.metrics import known_values
from cbam_search.records.results import read_result
from cbam_search.records.study_records import StudyRecords, running
from cbam_search.records.trials import Candidate, Origin, Outcome, Trial, TrialState
from cbam_search.search.budget import Budgets, Ended
from cbam_search.search.config import SearchConfig
from cbam_search.search.feasibility import excess, measured_excess
from cbam_search.search.known_cost.observations import RecordedObservations
from cbam_search.search.reference import measured_reference
from cbam_search.search.sampler_registry import SAMPLERS
from cbam_search.search.samplers import ParameterCodec, Task, build_sampler
from cbam_search.search.telling import Worthless, tell, tell_outcome, worthless_for
from cbam_search.space.space import Choice, Space

PROPOSALS_WITHOUT_A_NEW_ONE = 1_000
"""After so many in a row, the rest of the study enumerates unseen architectures."""
PROPOSALS_A_CALL = 50
"""Proposals looked at before the caller is let go for a moment: it has trials to watch, and Ctrl-C to heed."""
ENUMERATED_AT_MOST = 100_000
"""Architectures looked at by one enumeration before the space counts as exhausted."""


class NoCandidate(Enum):
    """Why there is nothing to train next. STOPPED: by one of the budgets in `search.stop`, see `Proposer.ended`."""

    BUDGET_USED = "trials"
    STOPPED = "stop"
    SPACE_EXHAUSTED = "space_exhausted"
    NOT_YET = "not_yet"


@dataclass(frozen=True)
class _Proposal:
    number: int
    parameters: Mapping[str, Choice]
    candidate: Candidate


class Proposer:
    """Asks Optuna and tells it, over one study's records. Works alike whether the study is new or resumed."""

    def __init__(
        self,
        records: StudyRecords,
        space: Space,
        cost: CostFunction,
        config: SearchConfig,
        *,
        seed: int,
        bounds: Mapping[str, float],
        published: Sequence[Architecture],
        measured_bounds: Mapping[str, float] | None = None,
        warm_start: Sequence[Architecture] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """bounds: on costs that are known. measured_bounds: on those that trials measure, to whom it falls to keep them.

        warm_start: designs of another study's front, of this space and within its bounds; trained after the published ones.
        clock: seconds since the epoch, for the budget of hours.
        """
        self.records = records
        self.space = space
        self._architectures = space.count()
        self._cost = cost
        self._bounds = bounds
        self._measured_bounds = measured_bounds or {}
        self._published_digests = frozenset(design.digest for design in published)
        self.trials = records.manifest.trials_allowed if records.manifest.history else config.trials
        self._objectives = [objective.name for objective in records.manifest.objectives]
        sampler_name = config.sampler_for(self._objectives)
        self._entry = SAMPLERS[sampler_name]
        self._codec = ParameterCodec(space.parameters, as_index=self._entry.choices_as_numbers)
        self._distributions = self._codec.distributions()
        # A resumed study must not propose again what its first driver proposed from the same seed.
        seed = seed + len(records.trials)
        task = self._task() if self._entry.uses_known_costs else None
        # A study that was extended goes on with the sampler that it began with.
        sampler = build_sampler(sampler_name, seed=seed, trials=records.manifest.trials, codec=self._codec, task=task)
        self._study = records.optuna_study(sampler)
        self._by_digest = {trial.candidate.digest: number for number, trial in records.trials.items() if trial.was_trained}
        hours = records.manifest.hours_allowed if records.manifest.history else config.stop.hours
        stop = config.stop.model_copy(update={"hours": hours})
        self._budgets = Budgets(stop, records.view, clock)
        self.ended: Ended | None = None
        """The budget of `search.stop` that was used up, once one was."""
        self.left_behind: dict[int, Outcome] = {}
        """Trainings that ended before a killed driver noted it, by trial: whoever conducts finishes them first."""
        self.problems: list[str] = []
        """What was damaged, in words."""
        self._settle()
        self._unfinished = [trial.number for trial in running(records.trials) if trial.number not in self.left_behind]
        self.begin_anew = frozenset(filter(records.view.is_of_other_numerics, self._unfinished))
        """Trainings that were cut off and begin again at their first epoch, as this version trains otherwise."""
        given = [(design, Origin.PUBLISHED) for design in published] + [(design, Origin.WARM_START) for design in warm_start]
        self._given = [(design, origin) for design, origin in given if design.digest not in self._by_digest]
        self._enumeration: Iterator[Architecture] | None = None
        self._sampling = not self._entry.enumerates
        self._vain = 0

    def _task(self) -> Task:
        """For samplers that know more than Optuna's storage."""
        objectives = self.records.manifest.objectives
        self._entry.check_objectives(self._objectives)
        axes = [axis for objective in objectives if (axis := objective.axis()) is not None]
        return Task(self.space, self._cost, axes, self._bounds, RecordedObservations(self.records))

    def next(self) -> Trial | NoCandidate:
        """The next trial to train, recorded as started; or why there is none."""
        if self._unfinished:
            number = self._unfinished.pop(0)
            return self.start_again(number, anew=number in self.begin_anew)
        if self.records.started >= self.trials:
            return NoCandidate.BUDGET_USED
        self.ended = self.ended or self._budgets.ended()
        if self.ended is not None:
            return NoCandidate.STOPPED
        proposal = self._next_given() or self._sampled()
        if proposal is None and self._sampling:
            return NoCandidate.NOT_YET
        proposal = proposal or self._enumerated()
        if proposal is None:
            return NoCandidate.SPACE_EXHAUSTED
        self._by_digest[proposal.candidate.digest] = proposal.number
        return self.records.start(proposal.number, proposal.candidate, proposal.parameters)

    def finish(self, number: int, outcome: Outcome) -> Outcome:
        """Record how training ended and tell Optuna; a complete trial gets the values of its objectives here."""
        trial = self.records.trials[number]
        if outcome.state is TrialState.COMPLETE:
            known = {name: measured.value for name, measured in outcome.metrics.items()} | known_values(trial.candidate)
            values = {name: known[name] for name in self._objectives}
            outcome = outcome.model_copy(update={"values": values})
        self._fix_references(replace(trial, outcome=outcome))
        self.records.finish(number, outcome)
        beyond = self._excess_after_start(outcome)
        self._tell(self.records.trials[number], beyond)
        return outcome

    def _tell(self, trial: Trial, excess: float) -> None:
        worthless = self._worthless
        tell(self._study, self.records.storage, trial, self._objectives, excess=excess, worthless=worthless)

    @property
    def _worthless(self) -> Worthless | None:
        return worthless_for(self._entry, self.records.manifest.objectives)

    def _excess_after_start(self, outcome: Outcome) -> float:
        """Of a trial that was found infeasible: beyond a measured bound, or else 1.0, as the device could not hold it."""
        return measured_excess(outcome.metrics, self._measured_bounds) or 1.0

    def _fix_references(self, ended: Trial) -> None:
        """Once enough was measured, before the trial that makes it enough is recorded: its front has a hypervolume."""
        open_ended = [objective.name for objective in self.records.manifest.objectives if objective.reference is None]
        if not open_ended:
            return
        trials = (self.records.trials | {ended.number: ended}).values()
        for name in open_ended:
            reference = measured_reference(name, trials, self._published_digests, self.trials)
            if reference is not None:
                self.records.fix_references({name: reference})

    def start_again(self, number: int, *, anew: bool = False) -> Trial:
        """A running trial lost its worker and goes on elsewhere, as the next attempt. anew: from its first epoch."""
        return self.records.start_again(number, self._parameters_of(number), anew=anew)

    def _next_given(self) -> _Proposal | None:
        while self._given:
            architecture, origin = self._given.pop(0)
            if architecture.digest not in self._by_digest:
                return self._propose(architecture, origin)
        return None

    def _sampled(self) -> _Proposal | None:
        if self._vain >= PROPOSALS_WITHOUT_A_NEW_ONE or len(self._by_digest) >= self._architectures:
            # For good: the next one would take as many proposals again, each of them a record.
            self._sampling = False
        if not self._sampling:
            return None
        for _ in range(PROPOSALS_A_CALL):
            trial = self._study.ask(self._distributions)
            parameters = self._codec.decode(trial.params)
            candidate = self._candidate(self.space.decode(parameters), Origin.SAMPLER)
            if not self._skipped(trial.number, candidate):
                self._vain = 0
                return _Proposal(trial.number, parameters, candidate)
            self._vain += 1
        return None

    def _enumerated(self) -> _Proposal | None:
        if self._enumeration is None:
            self._enumeration = self.space.enumerate()
        for architecture in islice(self._enumeration, ENUMERATED_AT_MOST):
            if architecture.digest not in self._by_digest and excess(self._cost(architecture), self._bounds) == 0:
                return self._propose(architecture, Origin.ENUMERATION)
        return None

    def _propose(self, architecture: Architecture, origin: Origin) -> _Proposal:
        """Make an Optuna trial of a given architecture; one outside the space has no parameters that Optuna could hold."""
        parameters = self.space.encode(architecture)
        candidate = self._candidate(architecture.canonical(), origin, in_space=parameters is not None)
        if parameters is None:
            storage = self.records.storage
            trial_id = storage.create_new_trial(self.records.optuna_study_id, create_trial(state=OptunaState.RUNNING))
            return _Proposal(storage.get_trial_number_from_id(trial_id), {}, candidate)
        self._study.enqueue_trial(self._codec.encode(parameters))
        return _Proposal(self._study.ask(self._distributions).number, parameters, candidate)

    def _candidate(self, architecture: Architecture, origin: Origin, *, in_space: bool = True) -> Candidate:
        cost = self._cost(architecture)
        return Candidate(architecture=architecture, gflops=cost.gflops, params=cost.params, origin=origin, in_space=in_space)

    def _skipped(self, number: int, candidate: Candidate) -> bool:
        """Whether the proposal needs no training; if so it is recorded and told."""
        beyond = excess(candidate, self._bounds)
        twin = self._by_digest.get(candidate.digest)
        if beyond > 0:
            outcome = Outcome(state=TrialState.INFEASIBLE, reason=self._bound_exceeded(candidate))
            told = outcome
        elif twin is not None:
            outcome = Outcome(state=TrialState.DUPLICATE, duplicate_of=twin, reason=f"the same function as trial {twin}")
            # Of a running twin nothing is known yet, and Optuna is told just that.
            twin_trial = self.records.trials[twin]
            told = twin_trial.outcome if twin_trial.outcome and twin_trial.candidate.in_space else outcome
        else:
            return False
        self.records.skip(number, candidate, outcome)
        # Within its bounds and infeasible all the same: its twin was found to be.
        excess_told = beyond or self._excess_after_start(told)
        tell_outcome(
            self._study,
            self.records.storage,
            number,
            told,
            self._objectives,
            excess=excess_told,
            worthless=self._worthless,
        )
        return True

    def _bound_exceeded(self, candidate: Candidate) -> str:
        values = known_values(candidate)
        return ", ".join(
            f"{name} {values[name]:g} is above {bound:g}" for name, bound in self._bounds.items() if values[name] > bound
        )

    def _settle(self) -> None:
        """Put right what a killed driver left between two writes."""
        study_id, storage = self.records.optuna_study_id, self.records.storage
        for frozen in storage.get_all_trials(study_id, deepcopy=False, states=(OptunaState.RUNNING, OptunaState.WAITING)):
            number = frozen.number
            trial = self.records.trials.get(number)
            if trial is None:
                # Killed between asking and recording: nobody knows of this proposal.
                if frozen.state is OptunaState.WAITING:
                    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
                    storage.set_trial_state_values(trial_id, OptunaState.RUNNING)
                self._study.tell(number, state=OptunaState.FAIL)
            elif trial.outcome is not None:
                if trial.was_trained:
                    self.records.settle(number)
                self._tell_again(trial)
            elif (left_behind := self._left_behind(trial)) is not None:
                self.left_behind[number] = left_behind

    def _left_behind(self, trial: Trial) -> Outcome | None:
        """How a training ended that a killed driver did not note. A damaged file is named, and it is trained again."""
        try:
            return read_result(self.records.folder.result(trial.evaluation))
        except DamagedFileError as error:
            self.problems.append(f"trial {trial.number} is trained again, since what was left of it cannot be read: {error}")
            return None

    def _tell_again(self, trial: Trial) -> None:
        outcome = trial.outcome
        assert outcome is not None
        twin = self.records.trials.get(outcome.duplicate_of) if outcome.duplicate_of is not None else None
        if twin is not None and twin.outcome is not None:
            outcome = twin.outcome
        beyond = excess(trial.candidate, self._bounds) or self._excess_after_start(outcome)
        self._tell(replace(trial, outcome=outcome), beyond)

    def _parameters_of(self, number: int) -> Mapping[str, Choice]:
        """As first proposed; none for a published design outside the space."""
        storage = self.records.storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(self.records.optuna_study_id, number)
        held = storage.get_trial(trial_id).params
        return self._codec.decode(held) if held else {}
