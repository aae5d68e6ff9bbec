"""Known-cost search as an Optuna sampler: needs no Ray, and no records of a study but Optuna's own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from cbam_search.cost.cost import CostFunction
from cbam_search.pareto import Axis
from cbam_search.search.known_cost.codes import CodedSpace
from cbam_search.search.known_cost.costs_and_features import CostsAndFeatures
from cbam_search.search.known_cost.engine import KnownCostSearch, Proposal
from cbam_search.search.known_cost.observation_table import ObservationTable
from cbam_search.search.known_cost.observations import Observations, StoredObservations
from cbam_search.search.sampler_registry import known_cost_objectives
from cbam_search.space.space import Space

STARTUP = 24
"""Plain designs tell apart what backbones and kinds do; proposals by a model of few noisy trainings chase their luck."""


class KnownCostSampler(BaseSampler):
    """Proposes architectures of a space for one accuracy and any of gflops and params, which are computed and never modelled.

    axes: one an objective, in the study's order, with the fixed ends of the hypervolume. bounds: upper ones on gflops and
    params. startup: plain designs before the model at most, see `design`. observations: where accuracies come
    from; by default Optuna's storage (values, intermediate values by epoch). Raises ValueError for objectives that it cannot
    take.

    The same seed and the same observations give the same proposal, whatever was proposed before. A parameter that is none of
    the space's is drawn at random. Threads may share it; `study.optimize(n_jobs=...)` then depends on their order.
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
        measured, known = known_cost_objectives([axis.name for axis in axes])
        self._names = [axis.name for axis in axes]
        self._maximise = [axis.maximise for axis in axes]
        by_name = {axis.name: axis for axis in axes}
        self._distributions: dict[str, BaseDistribution] = {
            parameter.name: CategoricalDistribution(parameter.choices) for parameter in space.parameters
        }
        self._coded = CodedSpace(space)
        described = CostsAndFeatures(self._coded, cost)
        self._search = KnownCostSearch(
            described, by_name[measured], [by_name[name] for name in known], bounds or {}, startup=startup
        )
        self._table = ObservationTable(described, measured)
        self._observations = observations or StoredObservations(space, self._names.index(measured), measured)
        self._random = RandomSampler(seed=seed)
        self._lock = threading.Lock()
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
        chosen = self._coded.parameters(proposal.code)
        others = {name: entry for name, entry in search_space.items() if name not in chosen}
        return {**chosen, **self._at_random(study, trial, others)}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def propose(self, study: optuna.Study, number: int) -> Proposal:
        """For trial `number`. Raises ValueError where observations are of a study with other objectives."""
        with self._lock:
            fresh = list(self._observations.unsettled(study, self._table.settled))
            if fresh:
                self._check(study)
            self._table.update(fresh)
            return self._search.propose(self._table, np.random.default_rng([self._seed, number]))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _check(self, study: optuna.Study) -> None:
        directions = [direction is optuna.study.StudyDirection.MAXIMIZE for direction in study.directions]
        if directions != self._maximise:
            wanted = ", ".join(
                f"{name} ({'max' if up else 'min'})" for name, up in zip(self._names, self._maximise, strict=True)
            )
            raise ValueError(f"the study's directions must be those of the sampler's objectives: {wanted}")

    def _at_random(self, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        return {name: self.sample_independent(study, trial, name, entry) for name, entry in space.items()}
