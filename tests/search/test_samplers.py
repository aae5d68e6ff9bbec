"""The contract of every sampler: it sees all parameters, proposes the same from the same seed, and learns what it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from studies import OBJECTIVES, StudyBench, landscape, manifest_of, new_folder, space_of

from cbam_search.architecture import published
from cbam_search.cost.model import CostModel
from cbam_search.errors import UnknownNameError
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.search import config
from cbam_search.search.config import SearchConfig
from cbam_search.search.samplers import SAMPLERS, ParameterCodec, Task, build_sampler

SPACE = space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7], pools={"from": ["avg", "max"]})
RELATIONAL = ("tpe", "nsga2", "nsga3", "gp", "qmc", "known_cost")
TASK = Task(SPACE, CostModel((8, 8)).cost, [axis for objective in OBJECTIVES if (axis := objective.axis())], bounds={})


def test_every_sampler_of_the_yaml_exists() -> None:
    assert set(SAMPLERS) == set(config.SAMPLERS) - {"grid"}
    with pytest.raises(UnknownNameError, match="Did you mean 'nsga3'"):
        build_sampler("nsga", seed=0, trials=10, codec=ParameterCodec(SPACE.parameters, as_index=False))


@pytest.mark.parametrize("name", RELATIONAL)
def test_relational_samplers_see_every_parameter(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a published design outside the space among the trials, which has no parameters at all."""
    codec = ParameterCodec(SPACE.parameters, as_index=name == "qmc")
    inner = type(SAMPLERS[name](0, 12, TASK))
    seen: list[tuple[set[str], set[str]]] = []
    original = inner.sample_relative

    def spy(self: Any, study: optuna.Study, trial: Any, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        values = original(self, study, trial, search_space)
        seen.append((set(search_space), set(values)))
        return values

    monkeypatch.setattr(inner, "sample_relative", spy)
    outside = published(SPACE.backbones[0], "cbam")
    assert SPACE.encode(outside) is None
    bench = StudyBench(
        new_folder(tmp_path, manifest_of(trials=12)), SPACE, SearchConfig(trials=12, sampler=name), published=(outside,)
    )
    bench.run(landscape, workers=1)
    everything = {parameter.name for parameter in SPACE.parameters}
    assert everything == set(codec.distributions())
    assert all(offered == everything for offered, _ in seen)
    # A mutation leaves single parameters of one trial to chance; over the trials every one is modelled.
    assert set().union(*(values for _, values in seen)) == everything


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_the_same_seed_proposes_the_same(name: str, tmp_path: Path) -> None:
    def digests(folder: str, seed: int) -> list[str]:
        bench = StudyBench(
            new_folder(tmp_path / folder, manifest_of(trials=6)), SPACE, SearchConfig(trials=6, sampler=name), seed=seed
        )
        return [trial.candidate.digest for trial in bench.run(landscape, workers=1)]

    first = digests("a", 1)
    assert first == digests("b", 1)
    assert first != digests("c", 2)
    assert len(set(first)) == 6


PROPOSALS = """
import sys; sys.path.insert(0, "tests/support")
from pathlib import Path
from studies import *
space = space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7], pools={"from": ["avg", "max"]})
for name in sys.argv[2:]:
    folder = new_folder(Path(sys.argv[1]) / name, manifest_of(trials=12))
    bench = StudyBench(folder, space, SearchConfig(trials=12, sampler=name), seed=5)
    print(name, [trial.candidate.digest for trial in bench.run(landscape, workers=1)])
"""


@pytest.mark.slow
def test_another_process_proposes_the_same_with_every_sampler(tmp_path: Path) -> None:
    outputs = []
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-c", PROPOSALS, str(tmp_path / hash_seed), *sorted(SAMPLERS)]
        environment = {"PYTHONHASHSEED": hash_seed, "PATH": "", "OMP_NUM_THREADS": "1"}
        outputs.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == len(SAMPLERS.names())


@pytest.mark.parametrize("as_index", [False, True])
def test_the_codec_goes_there_and_back(as_index: bool) -> None:
    codec = ParameterCodec(SPACE.parameters, as_index=as_index)
    choices = {parameter.name: parameter.choices[-1] for parameter in SPACE.parameters}
    held = codec.encode(choices)
    assert codec.decode(held) == choices
    assert all(codec.distributions()[name]._contains(codec.distributions()[name].to_internal_repr(held[name])) for name in held)


def test_known_cost_needs_its_task() -> None:
    with pytest.raises(ValueError, match="needs the task"):
        build_sampler("known_cost", seed=0, trials=10, codec=ParameterCodec(SPACE.parameters, as_index=False))


@pytest.mark.parametrize("name", ["tpe", "nsga2", "gp", "known_cost"])
def test_what_is_told_changes_what_is_proposed(name: str, tmp_path: Path) -> None:
    """Where accuracy rewards CBAM in the last stage at no cost, later proposals have more of it than early ones."""

    def rewards_cbam(trial: Trial) -> Outcome:
        good = any(site.stage == 2 and spec.kind == "cbam" for site, spec in trial.candidate.architecture.placed)
        return Outcome(state=TrialState.COMPLETE, metrics={"accuracy": 0.95 if good else 0.3}, epochs=1)

    objective = manifest_of(trials=48).objectives[:1]
    bench = StudyBench(
        new_folder(tmp_path, manifest_of(objective, trials=48)), SPACE, SearchConfig(trials=48, sampler=name), seed=3
    )
    trained = bench.run(rewards_cbam, workers=1)
    good = [rewards_cbam(trial).metrics["accuracy"].value > 0.5 for trial in trained]
    assert sum(good[24:]) > sum(good[:12]) * 2


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
    assert config.SearchConfig().sampler_for(objectives) == sampler
    assert config.SearchConfig(sampler="nsga2").sampler_for(objectives) == "nsga2"
