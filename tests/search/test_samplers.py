"""The contract of every sampler: it proposes within the space, the same from the same seed, and does what its entry claims."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
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
from cbam_search.search.config import SearchConfig
from cbam_search.search.sampler_registry import SAMPLERS, LearnsFrom
from cbam_search.search.samplers import BUILDERS, ParameterCodec, Task, build_sampler
from cbam_search.search.telling import CONSTRAINT_ATTRIBUTE, tell

SPACE = space_of(reduction_ratio=[2, 4], spatial_kernel_size=[3, 7], pools={"from": ["avg", "max"]})
SHOWN_THE_FLAT_SET = [name for name in SAMPLERS if not SAMPLERS[name].conditional_spaces]
TASK = Task(SPACE, CostModel((8, 8)).cost, [axis for objective in OBJECTIVES if (axis := objective.axis())], bounds={})


def codec_of(name: str) -> ParameterCodec:
    return ParameterCodec(SPACE.parameters, as_index=SAMPLERS[name].choices_as_numbers)


def test_every_entry_has_a_builder_and_every_builder_an_entry() -> None:
    assert BUILDERS.names() == SAMPLERS.names()
    with pytest.raises(UnknownNameError, match="Did you mean 'nsga3'"):
        build_sampler("nsga", seed=0, trials=10, codec=ParameterCodec(SPACE.parameters, as_index=False))


@pytest.mark.parametrize("name", SHOWN_THE_FLAT_SET)
def test_samplers_of_flat_spaces_see_every_parameter(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a published design outside the space among the trials, which has no parameters at all."""
    codec = codec_of(name)
    inner = type(BUILDERS[name](0, 12, TASK))
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


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_are_of_the_space_and_no_two_are_the_same(name: str, tmp_path: Path) -> None:
    bench = StudyBench(new_folder(tmp_path, manifest_of(trials=8)), SPACE, SearchConfig(trials=8, sampler=name))
    trained = [trial.candidate.architecture for trial in bench.run(landscape, workers=2)]
    assert len({architecture.digest for architecture in trained}) == 8
    assert all(SPACE.encode(architecture) is not None for architecture in trained)
    choices = {parameter.name: parameter.choices for parameter in SPACE.parameters}
    for trial in bench.records.storage.get_all_trials(bench.records.optuna_study_id):
        decoded = codec_of(name).decode(trial.params)
        assert all(decoded[parameter] in offered for parameter, offered in choices.items())


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_seed_proposes_the_same(name: str, tmp_path: Path) -> None:
    def digests(folder: str, seed: int) -> list[str]:
        bench = StudyBench(
            new_folder(tmp_path / folder, manifest_of(trials=6)), SPACE, SearchConfig(trials=6, sampler=name), seed=seed
        )
        return [trial.candidate.digest for trial in bench.run(landscape, workers=1)]

    first = digests("a", 1)
    assert first == digests("b", 1)
    assert (first == digests("c", 2)) is SAMPLERS[name].enumerates
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
        command = [sys.executable, "-c", PROPOSALS, str(tmp_path / hash_seed), *SAMPLERS]
        environment = {"PYTHONHASHSEED": hash_seed, "PATH": "", "OMP_NUM_THREADS": "1"}
        outputs.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == len(SAMPLERS.names())


TOLD = 12
"""Trials of the small studies below, without records around them."""


def proposals(name: str, tell: Callable[[optuna.Study, optuna.Trial, dict[str, float]], None]) -> list[dict[str, Any]]:
    """The parameters of each trial; tell: how one ends, from its study, the trial and the values of the objectives."""
    sampler = build_sampler(name, seed=0, trials=TOLD, codec=codec_of(name), task=TASK)
    study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])
    for _ in range(TOLD):
        trial = study.ask(codec_of(name).distributions())
        architecture = SPACE.decode(codec_of(name).decode(trial.params))
        tell(study, trial, {"accuracy": 0.5 + 0.01 * trial.number, "gflops": TASK.cost(architecture).gflops})
    return [trial.params for trial in study.trials]


def ending(name: str, odd: TrialState) -> Callable[[optuna.Study, optuna.Trial, dict[str, float]], None]:
    """Odd trials end so, after three epochs; even ones are complete."""

    def tell_ending(study: optuna.Study, trial: optuna.Trial, values: dict[str, float]) -> None:
        if SAMPLERS[name].uses_known_costs:
            # Without a study's records it reads accuracies by epoch from here.
            study._storage.set_trial_intermediate_value(trial._trial_id, 3, values["accuracy"])
        outcome = Outcome(state=odd) if trial.number % 2 else Outcome(state=TrialState.COMPLETE, values=values)
        tell(study, study._storage, trial.number, outcome, list(values))

    return tell_ending


def all_complete(study: optuna.Study, trial: optuna.Trial, values: dict[str, float]) -> None:
    study.tell(trial, list(values.values()))


def all_complete_the_other_way_round(study: optuna.Study, trial: optuna.Trial, values: dict[str, float]) -> None:
    study.tell(trial, [1.0 - values["accuracy"], values["gflops"]])


@pytest.mark.parametrize("name", SAMPLERS)
def test_it_learns_from_the_trials_that_its_entry_names(name: str) -> None:
    """No sampler learns from failed trials; where stopped ones lead to the same proposals, it learns from these no more."""
    after_stopped, after_failed = (proposals(name, ending(name, state)) for state in (TrialState.STOPPED, TrialState.FAILED))
    learns_from_stopped = after_stopped != after_failed
    learns_from_complete = proposals(name, all_complete) != proposals(name, all_complete_the_other_way_round)
    assert learns_from_stopped is (SAMPLERS[name].learns_from is LearnsFrom.COMPLETE_AND_STOPPED)
    assert learns_from_complete is (SAMPLERS[name].learns_from is not LearnsFrom.NOTHING)


@pytest.mark.parametrize("name", SAMPLERS)
def test_constraints_of_some_trials_alone_are_taken_where_its_entry_says_so(name: str) -> None:
    def tell(study: optuna.Study, trial: optuna.Trial, values: dict[str, float]) -> None:
        if trial.number % 2:
            study._storage.set_trial_system_attr(trial._trial_id, CONSTRAINT_ATTRIBUTE, 1.0)
        all_complete(study, trial, values)

    if SAMPLERS[name].takes_constraints:
        assert len(proposals(name, tell)) == TOLD
    else:
        with pytest.raises(ValueError, match="constraints"):
            proposals(name, tell)


def modelled_together(name: str, offered: Callable[[int], dict[str, BaseDistribution]]) -> set[str]:
    """What Optuna's sampler, with nothing around it, models together after `TOLD` trials with these parameters."""
    sampler = BUILDERS[name](0, TOLD, TASK)
    study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])
    for number in range(TOLD):
        study.tell(study.ask(offered(number)), [0.5 + 0.01 * number, 0.001])
    return set(sampler.infer_relative_search_space(study, study.trials[-1]))


@pytest.mark.parametrize("name", [name for name in SAMPLERS if not SAMPLERS[name].uses_known_costs])
def test_samplers_of_flat_spaces_lose_what_not_every_trial_has(name: str) -> None:
    """Why they are shown the flat set. The others choose every parameter by itself and have nothing to lose."""
    flat = codec_of(name).distributions()
    dependent = sorted(flat)[0]
    conditional = modelled_together(
        name, lambda number: {key: entry for key, entry in flat.items() if key != dependent or number % 2}
    )
    whole = modelled_together(name, lambda _: flat)
    assert whole == (set() if SAMPLERS[name].conditional_spaces else set(flat))
    assert conditional == whole - {dependent}


def test_known_cost_learns_nothing_of_a_trial_that_lacks_a_parameter() -> None:
    flat = codec_of("known_cost").distributions()
    dependent = sorted(flat)[0]

    def proposed(lacking: set[str], *, upside_down: bool) -> dict[str, Any]:
        study = optuna.create_study(sampler=BUILDERS["known_cost"](0, 4, TASK), directions=["maximize", "minimize"])
        for number in range(TOLD):
            trial = study.ask({key: entry for key, entry in flat.items() if key not in lacking})
            study.tell(trial, [0.5 + (-1) ** upside_down * 0.03 * number, 0.001])
        return study.ask(flat).params

    assert proposed(set(), upside_down=False) != proposed(set(), upside_down=True)
    assert proposed({dependent}, upside_down=False) == proposed({dependent}, upside_down=True)


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
