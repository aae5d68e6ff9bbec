"""What Optuna is told of a trial that ended: one table, since samplers read states differently.

| the trial | told as | why |
| --- | --- | --- |
| complete | COMPLETE with its values | |
| stopped | PRUNED | its last values stay in the records; they are not those of a full training |
| diverged | PRUNED, constraint 1 | a FAIL would teach nothing, and the candidate would come again |
| infeasible | PRUNED, constraint above 0 | the same; the constraint is the relative excess |
| failed | FAIL | the error says nothing of the candidate |
| duplicate of a finished trial | as that trial was | |
| duplicate of a running trial | FAIL | nothing is known yet |
| published design outside the space | PRUNED, constraint 1 | it has no parameters that a sampler could learn from |
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState as OptunaState

from cbam_search.records.trials import Outcome, Trial, TrialState

CONSTRAINT_ATTRIBUTE = "constraints:cbam_search"
"""Where `Trial.set_constraint("cbam_search", ...)` keeps its value; a resumed trial has no Trial object to call it on."""


def tell(study: optuna.Study, storage: BaseStorage, trial: Trial, objectives: Sequence[str], *, excess: float = 0.0) -> None:
    """Tell Optuna how `trial` ended; `excess` is by what share an infeasible one is beyond its bounds."""
    assert trial.outcome is not None
    told_as(study, storage, trial.number, trial.outcome, objectives, in_space=trial.candidate.in_space, excess=excess)


def told_as(
    study: optuna.Study,
    storage: BaseStorage,
    number: int,
    outcome: Outcome,
    objectives: Sequence[str],
    *,
    in_space: bool = True,
    excess: float = 0.0,
) -> None:
    """Tell Optuna that trial `number` ended with `outcome`."""
    if outcome.state in (TrialState.FAILED, TrialState.DUPLICATE):
        study.tell(number, state=OptunaState.FAIL)
        return
    if outcome.state is TrialState.COMPLETE and in_space:
        assert outcome.values is not None
        study.tell(number, [outcome.values[name] for name in objectives])
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
