"""What each sampler can do and what it cannot: one entry a sampler, and all decisions that depend on it ask its entry.

To add a sampler, register an entry here, and whoever builds it in `cbam_search.search.samplers`. This file imports neither
Optuna nor torch, since settings are checked against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from cbam_search.metrics import METRICS, names_of
from cbam_search.registry import Registry

AUTO = "auto"
"""In the YAML: the first of `AUTO_ORDER` that takes the study's objectives."""


class LearnsFrom(Enum):
    """Which of the trials that ended change what a sampler proposes next."""

    NOTHING = "nothing"
    COMPLETE = "complete trials alone"
    COMPLETE_AND_STOPPED = "complete and stopped trials"


@dataclass(frozen=True)
class SamplerEntry:
    """What one sampler can do.

    learns_from: which ended trials change what it proposes.
    takes_constraints: whether it works where some complete trials have a constraint value and others have none.
    conditional_spaces: whether it proposes as well where some parameters exist for some values of others alone. A sampler that
        does not is shown one flat, fixed set of parameters.
    uses_known_costs: whether it computes costs instead of learning them from trials; this limits the objectives.
    choices_as_numbers: whether Optuna holds the index of each choice instead of the choice. Before version 5 Optuna's QMC took
        numbers alone, and a study goes on with what it began with.
    enumerates: whether the study trains the whole space in a fixed order, and asks no Optuna sampler.
    """

    learns_from: LearnsFrom
    takes_constraints: bool = True
    conditional_spaces: bool = False
    uses_known_costs: bool = False
    choices_as_numbers: bool = False
    enumerates: bool = False

    @property
    def goes_with_early_stopping(self) -> bool:
        """Not where it learns from complete trials alone: it would propose again and again what is stopped. A sampler that
        learns nothing is not misled.
        """
        return self.learns_from is not LearnsFrom.COMPLETE

    def check_objectives(self, names: Iterable[str]) -> None:
        """Raises ValueError where the sampler cannot take objectives of these names."""
        if self.uses_known_costs:
            known_cost_objectives(names)


SAMPLERS: Registry[SamplerEntry] = Registry("sampler")
"""In the order in which messages and docs name them."""
SAMPLERS.register("tpe", SamplerEntry(LearnsFrom.COMPLETE_AND_STOPPED))
SAMPLERS.register("nsga2", SamplerEntry(LearnsFrom.COMPLETE))
SAMPLERS.register("nsga3", SamplerEntry(LearnsFrom.COMPLETE))
SAMPLERS.register("gp", SamplerEntry(LearnsFrom.COMPLETE, takes_constraints=False))
SAMPLERS.register("known_cost", SamplerEntry(LearnsFrom.COMPLETE_AND_STOPPED, uses_known_costs=True))
SAMPLERS.register("random", SamplerEntry(LearnsFrom.NOTHING, conditional_spaces=True))
SAMPLERS.register("qmc", SamplerEntry(LearnsFrom.NOTHING, choices_as_numbers=True))
SAMPLERS.register("grid", SamplerEntry(LearnsFrom.NOTHING, conditional_spaces=True, enumerates=True))

AUTO_ORDER = ("known_cost", "tpe")


def automatic_sampler(objectives: Iterable[str]) -> str:
    """The sampler that `auto` stands for in a study with objectives of these names."""
    objectives = list(objectives)
    for name in AUTO_ORDER:
        try:
            SAMPLERS[name].check_objectives(objectives)
        except ValueError:
            continue
        return name
    raise AssertionError("the last of AUTO_ORDER takes any objectives")


def known_cost_objectives(names: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The one trained objective and the known ones, as a sampler that uses known costs needs them.

    Raises ValueError where a cost is measured by each trial, or where not exactly one objective is trained.
    """
    names = list(names)
    trained = [name for name in names if METRICS[name].source == "trained"]
    measured = [name for name in names if METRICS[name].source == "measured"]
    if measured:
        raise ValueError(
            f"sampler known_cost takes costs that are known before training; {measured[0]} is measured by each trial"
        )
    if len(trained) != 1:
        found = " and ".join(trained) or "none"
        raise ValueError(f"sampler known_cost models one of {', '.join(names_of('trained'))}; found {found}")
    return trained[0], tuple(name for name in names if METRICS[name].source == "known")
