"""The samplers by name, and the one flat, fixed set of parameters that each of them sees."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, QMCSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from cbam_search.cost.cost import CostFunction
from cbam_search.pareto import Axis
from cbam_search.registry import Registry
from cbam_search.search.known_cost.observations import Observations
from cbam_search.search.known_cost.sampler import KnownCostSampler
from cbam_search.search.tpe import FullTrainingTPE
from cbam_search.space.space import Choice, Parameter, Space


@dataclass(frozen=True)
class Task:
    """What a sampler may know of the search beside Optuna's storage; most of them need nothing of it.

    axes: one an objective, in order. bounds: on known costs. observations: accuracies by epoch; None leaves those of the
    storage.
    """

    space: Space
    cost: CostFunction
    axes: Sequence[Axis]
    bounds: Mapping[str, float]
    observations: Observations | None = None


SamplerBuilder = Callable[[int, int, Task | None], BaseSampler]
SAMPLERS: Registry[SamplerBuilder] = Registry("sampler")
"""Builders (seed, trials, task) -> sampler. `grid` is none of them: it enumerates, see `cbam_search.search.proposer`."""


def _population(trials: int) -> int:
    """A quarter of the budget, so that short searches see several generations; at most Optuna's default of 50."""
    return max(4, min(50, trials // 4))


def _startup(trials: int) -> int:
    """Random proposals before the model: Optuna's 10, or a quarter of a small budget."""
    return max(2, min(10, trials // 4))


SAMPLERS.register(
    "tpe",
    lambda seed, trials, task: FullTrainingTPE(seed=seed, n_startup_trials=_startup(trials)),  # noqa: ARG005
)
SAMPLERS.register("nsga2", lambda seed, trials, task: NSGAIISampler(seed=seed, population_size=_population(trials)))  # noqa: ARG005
SAMPLERS.register("nsga3", lambda seed, trials, task: NSGAIIISampler(seed=seed, population_size=_population(trials)))  # noqa: ARG005
SAMPLERS.register("gp", lambda seed, trials, task: GPSampler(seed=seed, n_startup_trials=_startup(trials)))  # noqa: ARG005
SAMPLERS.register("random", lambda seed, trials, task: RandomSampler(seed=seed))  # noqa: ARG005
SAMPLERS.register("qmc", lambda seed, trials, task: QMCSampler(seed=seed, scramble=True))  # noqa: ARG005


def _known_cost(seed: int, trials: int, task: Task | None) -> BaseSampler:
    if task is None:
        raise ValueError("sampler known_cost needs the task: the space, its costs and the axes")
    return KnownCostSampler(
        task.space,
        task.cost,
        task.axes,
        bounds=task.bounds,
        startup=trials // 4,
        seed=seed,
        observations=task.observations,
    )


SAMPLERS.register("known_cost", _known_cost)


class ParameterCodec:
    """Parameters of the space as Optuna distributions, and values there and back.

    Choices are categorical, except for quasi-Monte Carlo, which samples numbers alone and gets the index of each choice.
    """

    def __init__(self, parameters: Sequence[Parameter], *, as_index: bool) -> None:
        self._parameters = {parameter.name: parameter for parameter in parameters}
        self._as_index = as_index

    def distributions(self) -> dict[str, BaseDistribution]:
        if self._as_index:
            return {name: IntDistribution(0, len(entry.choices) - 1) for name, entry in self._parameters.items()}
        return {name: CategoricalDistribution(entry.choices) for name, entry in self._parameters.items()}

    def decode(self, values: Mapping[str, Any]) -> dict[str, Choice]:
        """Choices by name, from what Optuna holds."""
        if self._as_index:
            return {name: entry.choices[values[name]] for name, entry in self._parameters.items()}
        return {name: values[name] for name in self._parameters}

    def encode(self, choices: Mapping[str, Choice]) -> dict[str, Any]:
        """What Optuna holds, from choices by name."""
        if self._as_index:
            return {name: entry.choices.index(choices[name]) for name, entry in self._parameters.items()}
        return {name: choices[name] for name in self._parameters}


class FixedSpaceSampler(BaseSampler):
    """Shows the wrapped sampler the whole parameter set at every proposal.

    Left to themselves, samplers intersect the parameters of past trials, and one published design outside the space
    would leave them nothing to model.
    """

    def __init__(self, inner: BaseSampler, distributions: dict[str, BaseDistribution]) -> None:
        self.inner = inner
        self._distributions = distributions

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        return dict(self._distributions)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self.inner.reseed_rng()


def build_sampler(name: str, *, seed: int, trials: int, codec: ParameterCodec, task: Task | None = None) -> FixedSpaceSampler:
    """The sampler of this name over the full parameter set; raises UnknownNameError, and ValueError for objectives that the
    sampler cannot take, or where it needs a task and has none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return FixedSpaceSampler(SAMPLERS[name](seed, trials, task), codec.distributions())
