"""Who builds each sampler of the registry, and the parameters that it sees."""

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
from cbam_search.search.sampler_registry import SAMPLERS
from cbam_search.search.tpe import FullTrainingTPE
from cbam_search.space.space import Choice, Parameter, Space


@dataclass(frozen=True)
class Task:
    """What a sampler that uses known costs is given of the search, beside Optuna's storage.

    cost: of an architecture, exact. axes: one an objective, in order. bounds: upper ones, on known costs. observations: where
    accuracies by epoch are read from; None is for those in Optuna's storage.
    """

    space: Space
    cost: CostFunction
    axes: Sequence[Axis]
    bounds: Mapping[str, float]
    observations: Observations | None = None


def _population(trials: int) -> int:
    """A quarter of the budget, so that short searches see several generations; at most Optuna's default of 50."""
    return max(4, min(50, trials // 4))


def _startup(trials: int) -> int:
    """Random proposals before the model: Optuna's 10, or a quarter of a small budget."""
    return max(2, min(10, trials // 4))


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


SamplerBuilder = Callable[[int, int, Task | None], BaseSampler]
BUILDERS: Registry[SamplerBuilder] = Registry("sampler")
"""By the names of `SAMPLERS`: (seed, trials, task) -> Optuna's sampler. trials: the study's budget."""
BUILDERS.register("tpe", lambda seed, trials, _task: FullTrainingTPE(seed=seed, n_startup_trials=_startup(trials)))
BUILDERS.register("nsga2", lambda seed, trials, _task: NSGAIISampler(seed=seed, population_size=_population(trials)))
BUILDERS.register("nsga3", lambda seed, trials, _task: NSGAIIISampler(seed=seed, population_size=_population(trials)))
BUILDERS.register("gp", lambda seed, trials, _task: GPSampler(seed=seed, n_startup_trials=_startup(trials)))
BUILDERS.register("known_cost", _known_cost)
BUILDERS.register("random", lambda seed, _trials, _task: RandomSampler(seed=seed))
BUILDERS.register("qmc", lambda seed, _trials, _task: QMCSampler(seed=seed, scramble=True))
# An Optuna study has a sampler; this one's is never asked, as every architecture is given to the study.
BUILDERS.register("grid", lambda seed, _trials, _task: RandomSampler(seed=seed))


class ParameterCodec:
    """Parameters of the space as Optuna distributions, and values there and back.

    as_index: whether Optuna holds the index of each choice instead of the choice.
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


def build_sampler(name: str, *, seed: int, trials: int, codec: ParameterCodec, task: Task | None = None) -> BaseSampler:
    """The sampler of this name for the parameters of `codec`.

    trials: the study's budget. task: for a sampler that uses known costs; the others need none.
    Raises UnknownNameError, and ValueError for objectives that the sampler cannot take, or where it needs a task and has none.
    """
    entry = SAMPLERS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = BUILDERS[name](seed, trials, task)
    return sampler if entry.conditional_spaces else FixedSpaceSampler(sampler, codec.distributions())
