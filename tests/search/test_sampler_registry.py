"""Entries of samplers as settings are checked against them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cbam_search.metrics import METRICS
from cbam_search.search.config import SearchConfig
from cbam_search.search.sampler_registry import AUTO, SAMPLERS, known_cost_objectives


def test_auto_is_no_sampler_s_name() -> None:
    assert AUTO not in SAMPLERS


def test_neither_optuna_nor_torch_is_imported() -> None:
    program = (
        "import sys, cbam_search.search.config\n"
        "print([m for m in ('optuna', 'torch', 'ray', 'mlflow', 'cbam_search.search.sampler_registry') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['cbam_search.search.sampler_registry']"


@pytest.mark.parametrize(
    ("objectives", "sampler"),
    [
        (("accuracy", "gflops"), "known_cost"),
        (("params", "macro_f1", "gflops"), "known_cost"),
        (("accuracy",), "known_cost"),
        (("accuracy", "latency_ms"), "tpe"),
        (("accuracy", "macro_f1", "gflops"), "tpe"),
    ],
)
def test_auto_is_known_cost_where_it_takes_the_objectives(objectives: tuple[str, ...], sampler: str) -> None:
    assert SearchConfig().sampler_for(objectives) == sampler
    assert SearchConfig(sampler="nsga2").sampler_for(objectives) == "nsga2"


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_that_use_known_costs_refuse_costs_that_are_not_known(name: str) -> None:
    entry = SAMPLERS[name]
    entry.check_objectives(["accuracy", "gflops", "params"])
    for refused in (["accuracy", "latency_ms"], ["accuracy", "macro_f1"], ["gflops"]):
        if entry.uses_known_costs:
            with pytest.raises(ValueError, match=name):
                entry.check_objectives(refused)
        else:
            entry.check_objectives(refused)


def test_known_cost_objectives_are_told_apart_by_their_source() -> None:
    trained, known = known_cost_objectives(["params", "macro_f1", "gflops"])
    assert (trained, known) == ("macro_f1", ("params", "gflops"))
    assert {METRICS[name].source for name in known} == {"known"}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_that_learns_from_complete_trials_alone_does_not_go_with_early_stopping(name: str) -> None:
    settings = {"sampler": name, "scheduler": {"kind": "pareto_asha"}}
    if SAMPLERS[name].goes_with_early_stopping:
        assert SearchConfig.model_validate(settings).sampler == name
    else:
        with pytest.raises(ValueError, match=f"{name} learns from complete trials alone.* goes with tpe, known_cost"):
            SearchConfig.model_validate(settings)
