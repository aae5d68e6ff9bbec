"""Known-cost search as an Optuna sampler: needs no Ray, and no records of a study but Optuna's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from cbam_search.pareto import Axis
from cbam_search.search.config import KNOWN, MEASURED
from cbam_search.search.known_cost.codes import CodedSpace
from cbam_search.search.known_cost.engine import KnownCostSearch, Proposal
from cbam_search.search.known_cost.observations import Observations, StoredObservations
from cbam_search.search.known_cost.table import ObservationTable
from cbam_search.search.space_costs import CostFunction
from cbam_search.space.space import Space

STARTUP = 10


class KnownCostSampler(BaseSampler):
    """Proposes architectures of a space for one accuracy and any of gflops and params, which are computed and never modelled.

    axes: one an objective, in the study's order, with the fixed ends of the hypervolume. bounds: upper ones on gflops and params.
    startup: trials before the model, of an initial design spread over cost. observations: where accuracies come from; by default
    Optuna's storage (values, intermediate values by epoch). Raises ValueError for objectives that it cannot take.

    The same seed and the same observations give the same proposal, whatever was proposed before. A parameter that is none of the
    space's is drawn at random. Not thread-safe: `study.optimize(n_jobs=...)` is not for it; ask for several trials in one thread.
    """

    def __init__(
        self,
        space: Space,
        cost: CostFunction,
        axes: Sequence[Axis],
        *,
        bounds: Mapping[str, float] | None = None,
        startup: int = STARTUP,
        seed: int | None = None,
        observations: Observations | None = None,
    ) -> None:
        measured, known = split_objectives([axis.name for axis in axes])
        self._names = [axis.name for axis in axes]
        self._maximise = [axis.maximise for axis in axes]
        by_name = {axis.name: axis for axis in axes}
        self._distributions: dict[str, BaseDistribution] = {
            parameter.name: CategoricalDistribution(parameter.choices) for parameter in space.parameters
        }
        coded = CodedSpace(space, cost)
        self._search = KnownCostSearch(
            coded, by_name[measured], [by_name[name] for name in known], bounds or {}, startup=startup
        )
        self._table = ObservationTable(coded)
        self._observations = observations or StoredObservations(space, self._names.index(measured))
        self._random = RandomSampler(seed=seed)
        self.reseed_rng()
        if seed is not None:
            self._seed = seed

    def reseed_rng(self) -> None:
        self._seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """The space's parameters, whatever past trials had."""
        return {name: entry for name, entry in self._distributions.items() if not entry.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A whole architecture, where all of the space's parameters are asked for; else every parameter at random."""
        if not set(self._distributions) <= set(search_space) or not self._distributions:
            return self._at_random(study, trial, search_space)
        proposal = self.propose(study, trial.number)
        if proposal.code is None:
            return self._at_random(study, trial, search_space)
        chosen = self._search.space.parameters(proposal.code)
        others = {name: entry for name, entry in search_space.items() if name not in chosen}
        return {**chosen, **self._at_random(study, trial, others)}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def propose(self, study: optuna.Study, number: int) -> Proposal:
        """For trial `number`. Raises ValueError where observations are of a study with other objectives."""
        fresh = list(self._observations.unsettled(study, self._table.settled))
        if fresh:
            self._check(study)
        self._table.update(fresh)
        return self._search.propose(self._table, np.random.default_rng([self._seed, number]))

    def _check(self, study: optuna.Study) -> None:
        directions = [direction is optuna.study.StudyDirection.MAXIMIZE for direction in study.directions]
        if directions != self._maximise:
            wanted = ", ".join(f"{name} ({'max' if up else 'min'})" for name, up in zip(self._names, self._maximise, strict=True))
            raise ValueError(f"the study's directions must be those of the sampler's objectives: {wanted}")

    def _at_random(self, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        return {name: self.sample_independent(study, trial, name, entry) for name, entry in space.items()}


def split_objectives(names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The measured objective, and the known ones; raises ValueError for what known-cost search cannot take."""
    measured = [name for name in names if name in MEASURED]
    other = [name for name in names if name not in MEASURED and name not in KNOWN]
    if other:
        raise ValueError(f"sampler known_cost needs costs that are known before training, and {other[0]} is measured by each trial")
    if len(measured) != 1:
        raise ValueError(
            f"sampler known_cost models one of {', '.join(MEASURED)}; found {', '.join(measured) if measured else 'none'}"
        )
    return measured[0], tuple(name for name in names if name in KNOWN)
