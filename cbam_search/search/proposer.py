"""Proposals: published designs, a warm start's, then the sampler's, until the budget is used or the space is exhausted.

A proposer decides and writes no records: whoever conducts the study records what it proposes, and tells it how trials ended.
What it has of its own is Optuna's study, where the sampler's proposals and what it was told of them stand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from cbam_search.architecture import Architecture
from cbam_search.cost.cost import CostFunction
from cbam_search.metrics import known_values
from cbam_search.records.study_records import StudyRecords
from cbam_search.records.trials import Candidate, Origin, Outcome, Trial, TrialState
from cbam_search.search.budget import Budgets, Ended
from cbam_search.search.config import SearchConfig
from cbam_search.search.feasibility import excess, measured_excess
from cbam_search.search.known_cost.observations import RecordedObservations
from cbam_search.search.reference import measured_reference
from cbam_search.search.sampler_registry import SAMPLERS
from cbam_search.search.samplers import ParameterCodec, Task, build_sampler
from cbam_search.search.telling import tell, worthless_for
from cbam_search.space.space import Choice, Space

PROPOSALS_WITHOUT_A_NEW_ONE = 1_000
"""After so many in a row, the rest of the study enumerates unseen architectures."""
ENUMERATED_AT_MOST = 100_000
"""Architectures looked at by one enumeration before the space counts as exhausted."""


class NoCandidate(Enum):
    """Why there is nothing to train any more. STOPPED: by one of the budgets in `search.stop`, see `Proposer.ended`."""

    BUDGET_USED = "trials"
    STOPPED = "stop"
    SPACE_EXHAUSTED = "space_exhausted"


@dataclass(frozen=True)
class Proposal:
    """A candidate under its trial's number.

    parameters: as the sampler chose them; none for a published design outside the space.
    skipped: how its trial ends without a training, since it is beyond a constraint or was proposed before; None where it is to
    be trained.
    """

    number: int
    candidate: Candidate
    parameters: Mapping[str, Choice]
    skipped: Outcome | None = None


class Proposer:
    """Asks Optuna and tells it, over one study's records, which it reads. Works alike whether the study is new or resumed."""

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
        given = [(design, Origin.PUBLISHED) for design in published] + [(design, Origin.WARM_START) for design in warm_start]
        self._given = [(design, origin) for design, origin in given if design.digest not in self._by_digest]
        self._enumeration: Iterator[Architecture] | None = None
        self._sampling = not self._entry.enumerates
        self._proposals_without_new = 0

    def _task(self) -> Task:
        """For samplers that know more than Optuna's storage."""
        objectives = self.records.manifest.objectives
        self._entry.check_objectives(self._objectives)
        axes = [axis for objective in objectives if (axis := objective.axis()) is not None]
        return Task(self.space, self._cost, axes, self._bounds, RecordedObservations(self.records))

    def propose(self) -> Proposal | NoCandidate:
        """The next proposal, or why there is none any more. Whoever asks records it, and `observe`s a skipped one at once."""
        if self.records.started >= self.trials:
            return NoCandidate.BUDGET_USED
        self.ended = self.ended or self._budgets.ended()
        if self.ended is not None:
            return NoCandidate.STOPPED
        proposal = self._next_given() or self._sampled() or self._enumerated()
        if proposal is None:
            return NoCandidate.SPACE_EXHAUSTED
        if proposal.skipped is None:
            self._by_digest[proposal.candidate.digest] = proposal.number
        return proposal

    def observe(self, trial: Trial) -> None:
        """Tell Optuna how a trial ended; a duplicate as its twin did, where that has ended."""
        outcome = trial.outcome
        assert outcome is not None
        twin = self.records.trials.get(outcome.duplicate_of) if outcome.duplicate_of is not None else None
        if twin is not None and twin.outcome is not None and twin.candidate.in_space:
            outcome = twin.outcome
        # Within its bounds and infeasible all the same: it was measured to be, or the device could not hold it.
        beyond = excess(trial.candidate, self._bounds) or measured_excess(outcome.metrics, self._measured_bounds) or 1.0
        worthless = worthless_for(self._entry, self.records.manifest.objectives)
        tell(
            self._study,
            self.records.storage,
            trial.number,
            outcome,
            self._objectives,
            in_space=trial.candidate.in_space,
            excess=beyond,
            worthless=worthless,
        )

    def references_after(self, ended: Trial) -> dict[str, float]:
        """References that can be fixed now that this trial has ended, by objective: enough was measured."""
        open_ended = [objective.name for objective in self.records.manifest.objectives if objective.reference is None]
        if not open_ended:
            return {}
        trials = (self.records.trials | {ended.number: ended}).values()
        found = {name: measured_reference(name, trials, self._published_digests, self.trials) for name in open_ended}
        return {name: reference for name, reference in found.items() if reference is not None}

    def parameters_of(self, number: int) -> Mapping[str, Choice]:
        """As a trial was first proposed; none for a published design outside the space."""
        storage = self.records.storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(self.records.optuna_study_id, number)
        held = storage.get_trial(trial_id).params
        return self._codec.decode(held) if held else {}

    def _next_given(self) -> Proposal | None:
        while self._given:
            architecture, origin = self._given.pop(0)
            if architecture.digest not in self._by_digest:
                return self._propose(architecture, origin)
        return None

    def _sampled(self) -> Proposal | None:
        if self._proposals_without_new >= PROPOSALS_WITHOUT_A_NEW_ONE or len(self._by_digest) >= self._architectures:
            # For good: the next one would take as many proposals again, each of them a record.
            self._sampling = False
        if not self._sampling:
            return None
        trial = self._study.ask(self._distributions)
        parameters = self._codec.decode(trial.params)
        candidate = self._candidate(self.space.decode(parameters), Origin.SAMPLER)
        skipped = self._needs_no_training(candidate)
        self._proposals_without_new = 0 if skipped is None else self._proposals_without_new + 1
        return Proposal(trial.number, candidate, parameters, skipped)

    def _needs_no_training(self, candidate: Candidate) -> Outcome | None:
        """How its trial ends without one; None where it is to be trained."""
        if excess(candidate, self._bounds) > 0:
            return Outcome(state=TrialState.INFEASIBLE, reason=self._bound_exceeded(candidate))
        twin = self._by_digest.get(candidate.digest)
        if twin is None:
            return None
        return Outcome(state=TrialState.DUPLICATE, duplicate_of=twin, reason=f"the same function as trial {twin}")

    def _enumerated(self) -> Proposal | None:
        if self._enumeration is None:
            self._enumeration = self.space.enumerate()
        for architecture in islice(self._enumeration, ENUMERATED_AT_MOST):
            if architecture.digest not in self._by_digest and excess(self._cost(architecture), self._bounds) == 0:
                return self._propose(architecture, Origin.ENUMERATION)
        return None

    def _propose(self, architecture: Architecture, origin: Origin) -> Proposal:
        """Make an Optuna trial of a given architecture; one outside the space has no parameters that Optuna could hold."""
        parameters = self.space.encode(architecture)
        candidate = self._candidate(architecture.canonical(), origin, in_space=parameters is not None)
        if parameters is None:
            storage = self.records.storage
            trial_id = storage.create_new_trial(self.records.optuna_study_id, create_trial(state=OptunaState.RUNNING))
            return Proposal(storage.get_trial_number_from_id(trial_id), candidate, {})
        self._study.enqueue_trial(self._codec.encode(parameters))
        return Proposal(self._study.ask(self._distributions).number, candidate, parameters)

    def _candidate(self, architecture: Architecture, origin: Origin, *, in_space: bool = True) -> Candidate:
        cost = self._cost(architecture)
        return Candidate(architecture=architecture, gflops=cost.gflops, params=cost.params, origin=origin, in_space=in_space)

    def _bound_exceeded(self, candidate: Candidate) -> str:
        values = known_values(candidate)
        return ", ".join(
            f"{name} {values[name]:g} is above {bound:g}" for name, bound in self._bounds.items() if values[name] > bound
        )
