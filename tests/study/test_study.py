"""Which trial of a study can be taken away, and what is said of one that cannot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from synthetic_study import candidate, complete, ended, synthetic_study

from cbam_search.errors import ExportError
from cbam_search.records.front import front_of
from cbam_search.records.trials import Trial, TrialState
from cbam_search.study.config import StudyConfig
from cbam_search.study.study import Study

CONFIG = StudyConfig.model_validate(
    {"name": "digits", "dataset": {"source": "digits"}, "backbone": {"family": "cifar_resnet", "depth": 8}}
)


@pytest.mark.parametrize(
    ("trial", "told"),
    [
        (ended(8, TrialState.STOPPED, epochs=4), "trial 8 of study digits was stopped at epoch 4. On the front: 0"),
        (ended(8, TrialState.DIVERGED, epochs=1), "trial 8 of study digits diverged after 1 epoch. On the front: 0"),
        (ended(8, TrialState.FAILED), "trial 8 of study digits failed after 0 epochs."),
        (ended(8, TrialState.INFEASIBLE), "trial 8 of study digits was not trained: it is infeasible."),
        (
            ended(8, TrialState.DUPLICATE, duplicate_of=0),
            "trial 8 of study digits was not trained: it is a duplicate of trial 0",
        ),
        (Trial(8, candidate()), "trial 8 of study digits has not ended yet."),
        (ended(7, TrialState.STOPPED), "study digits has no trial 8."),
    ],
)
def test_a_trial_without_a_finished_training_says_how_it_ended(tmp_path: Path, trial: Trial, told: str) -> None:
    made = synthetic_study(tmp_path)
    trials = {0: complete(0, 0.9, 0.001), trial.number: trial}
    study = Study(made.folder, CONFIG, made.manifest, trials, front_of(trials.values(), made.manifest.objectives))
    assert study.pick("0").number == 0
    with pytest.raises(ExportError, match=re.escape(told)):
        study.pick("8")
