"""Optuna's TPE, with fully trained trials alone among its good ones."""

from __future__ import annotations

import warnings
from math import ceil
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

GOOD_AT_MOST = 25
"""Good trials in a study of one objective, as Optuna has it."""


class FullTrainingTPE(TPESampler):
    """TPE models good trials and the others, and proposes what is likelier among the good ones.

    Optuna's TPE takes a tenth of all trials that ended as good: complete ones first, then pruned ones, then infeasible ones.
    With early stopping, or where most proposals are infeasible, complete trials can be fewer than a tenth, and then stopped
    ones count as good, whatever they were stopped for. Here at most as many are good as are complete and feasible; the rest
    stay among the others. Where complete trials are enough, proposals are those of Optuna's TPE.
    """

    def __init__(self, *, seed: int, n_startup_trials: int) -> None:
        with warnings.catch_warnings():
            # Optuna means to take `gamma` away in version 6, which pyproject.toml therefore excludes.
            warnings.simplefilter("ignore", FutureWarning)
            super().__init__(
                seed=seed,
                multivariate=True,
                constant_liar=True,
                n_startup_trials=n_startup_trials,
                gamma=self._number_of_good,
            )
        self._eligible = 0
        self._at_most: int | None = None

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._eligible = sum(all(value <= 0 for value in entry.constraints.values()) for entry in complete)
        self._at_most = GOOD_AT_MOST if len(study.directions) == 1 else None
        return super().sample_relative(study, trial, search_space)

    def _number_of_good(self, ended: int) -> int:
        """How many good trials there are. ended: number of trials that ended, pruned and infeasible ones included."""
        good = min(ceil(0.1 * ended), self._eligible)
        return good if self._at_most is None else min(good, self._at_most)
