"""How many trials run at once."""

from __future__ import annotations

import os

import pytest

from cbam_search.errors import ResourceError
from cbam_search.running.config import ResourcesConfig, cores_here


@pytest.mark.parametrize(
    ("asked", "cpus", "gpus", "at_once"),
    [
        ({}, 4, 0, 4),
        ({}, 4, 2, 2),
        ({"cpus_per_trial": 1.5}, 4, 0, 2),
        ({"cpus_per_trial": 0.1}, 0.3, 0, 3),
        ({"gpus_per_trial": 0.25}, 16, 1, 4),
        ({"gpus_per_trial": 0}, 3, 1, 3),
        ({"max_concurrent": 2}, 4, 0, 2),
        ({"max_concurrent": 9}, 4, 0, 4),
        ({"executor": "inline"}, 4, 0, 1),
        ({"executor": "inline", "gpus_per_trial": 0.25}, 4, 1, 1),
    ],
)
def test_as_many_trials_as_fit_and_no_more_than_allowed(
    asked: dict[str, float | str], cpus: float, gpus: float, at_once: int
) -> None:
    assert ResourcesConfig.model_validate(asked).trials_at_once(cpus, gpus, of="Ray") == at_once


@pytest.mark.parametrize("asked", [{"cpus_per_trial": 8}, {"gpus_per_trial": 2}])
def test_a_trial_that_does_not_fit_is_refused_with_both_counts(asked: dict[str, float]) -> None:
    with pytest.raises(ResourceError, match=r"one trial asks for .* but Ray has 4 CPUs and 1 GPUs. Lower resources"):
        ResourcesConfig.model_validate(asked).trials_at_once(4, 1, of="Ray")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system holds no process to some cores")
def test_a_process_that_is_held_to_one_core_counts_one() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert cores_here() == 1
    finally:
        os.sched_setaffinity(0, before)
