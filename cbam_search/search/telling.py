"""What Optuna is told of a trial that ended: one table, since samplers read states differently.

| the trial | told to tpe, random, qmc | told to nsga2, nsga3, gp | why |
| --- | --- | --- | --- |
| complete | COMPLETE with its values | COMPLETE with its values | |
| stopped | PRUNED | (refused: no early stopping) | its last values are not those of a full training |
| diverged | PRUNED, constraint 1 | worthless, constraint 1 | after a FAIL the candidate would come again |
| infeasible | PRUNED, constraint above 0 | worthless, constraint above 0 | it is the relative excess |
| failed | FAIL | FAIL | the error says nothing of the candidate |
| duplicate of a finished trial | as that trial was | as that trial was | |
| duplicate of a running trial | FAIL | FAIL | nothing is known yet |
| published design outside the space | PRUNED, constraint 1 | PRUNED, constraint 1 | it has no parameters to learn from |

worthless: COMPLETE with the values of the reference point, since these samplers learn from COMPLETE trials alone; gp without
the constraint. As long as a reference is not fixed: PRUNED, as to the others. Told what tpe is told, but without need of it:
known_cost, which reads the study's records, and grid, which is never asked. Which column holds for a sampler follows from its
entry in `cbam_search.search.sampler_registry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState as OptunaState

from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.search.sampler_registry import LearnsFrom, SamplerEntry

CONSTRAINT_ATTRIBUTE = "constraints:cbam_search"
"""Where `Trial.set_constraint("cbam_search", ...)` keeps its value; a resumed trial has no Trial object to call it on."""


@dataclass(frozen=True)
class Worthless:
    """How a sampler that learns from COMPLETE trials alone is told of a candidate that is worth nothing.

    values: the reference point. constrained: whether a constraint is set too. Optuna's GP takes constraints only if every
    complete trial has the same number of them, which a study cannot know before its first trial diverges; so GP gets none.
    """

    values: tuple[float, ...]
    constrained: bool


def worthless_for(sampler: SamplerEntry, objectives: Sequence[ObjectiveAxis]) -> Worthless | None:
    """None for samplers that learn from PRUNED trials, or from none at all, and while the reference point is not fixed."""
    references = [objective.reference for objective in objectives if objective.reference is not None]
    if sampler.learns_from is not LearnsFrom.COMPLETE or len(references) < len(objectives):
        return None
    return Worthless(tuple(references), constrained=sampler.takes_constraints)


def tell(
    study: optuna.Study,
    storage: BaseStorage,
    number: int,
    outcome: Outcome,
    objectives: Sequence[str],
    *,
    in_space: bool = True,
    excess: float = 0.0,
    worthless: Worthless | None = None,
) -> None:
    """Tell Optuna that trial `number` ended with `outcome`, as the table says.

    objectives: names, in the study's order. in_space: whether Optuna holds the trial's parameters. excess: by what share an
    infeasible trial is beyond its bounds. worthless: of `worthless_for`.
    """
    if outcome.state in (TrialState.FAILED, TrialState.DUPLICATE):
        study.tell(number, state=OptunaState.FAIL)
        return
    if outcome.state is TrialState.COMPLETE and in_space:
        assert outcome.values is not None
        study.tell(number, [outcome.values[name] for name in objectives])
        return
    bad = outcome.state in (TrialState.INFEASIBLE, TrialState.DIVERGED)
    if in_space and bad and worthless is not None:
        if worthless.constrained:
            _constrain(study, storage, number, excess if outcome.state is TrialState.INFEASIBLE else 1.0)
        study.tell(number, worthless.values)
        return
    if outcome.state is TrialState.INFEASIBLE:
        _constrain(study, storage, number, excess)
    elif outcome.state is TrialState.DIVERGED or not in_space:
        _constrain(study, storage, number, 1.0)
    study.tell(number, state=OptunaState.PRUNED)


def _constrain(study: optuna.Study, storage: BaseStorage, number: int, value: float) -> None:
    study_id = storage.get_study_id_from_name(study.study_name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    storage.set_trial_system_attr(trial_id, CONSTRAINT_ATTRIBUTE, value)
