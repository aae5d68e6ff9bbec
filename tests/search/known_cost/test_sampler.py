"""The sampler on Optuna's storage alone: its contract, that its model decides, and that this helps."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState as OptunaState
from studies import space_of

from cbam_search.architecture import Architecture
from cbam_search.cost.model import CostModel
from cbam_search.pareto import Axis, hypervolume, ranks
from cbam_search.search.known_cost import engine
from cbam_search.search.known_cost.engine import KnownCostSearch
from cbam_search.search.known_cost.sampler import KnownCostSampler
from cbam_search.search.known_cost.surrogate import Surrogate
from cbam_search.space.space import Space

ACCURACY = Axis("accuracy", maximise=True, reference=0.1, ideal=1.0)
SMALL = space_of(kind=["none", "se"], per="network")


def distributions(space: Space) -> dict[str, Any]:
    return {parameter.name: CategoricalDistribution(parameter.choices) for parameter in space.parameters}


def study_of(sampler: KnownCostSampler, directions: tuple[str, ...] = ("maximize", "minimize")) -> optuna.Study:
    return optuna.create_study(directions=list(directions), sampler=sampler)


def true_accuracy(architecture: Architecture, gflops: float) -> float:
    """Concave in compute; CBAM late in the network helps, SE early harms, settings matter a little."""
    blocks = len(architecture.backbone.geometry().blocks)
    effects = {("cbam", 2): 0.06, ("cbam", 1): 0.02, ("se", 0): -0.04, ("se", 2): 0.02, ("cbam", 0): -0.01}
    attention = sum(effects.get((spec.kind, site.stage), 0.0) for site, spec in architecture.placed) / blocks
    kernel = sum(0.02 for _, spec in architecture.placed if getattr(spec, "spatial_kernel_size", None) == 7) / blocks
    return 0.75 + 0.05 * math.tanh(math.log(gflops / 0.0004)) + attention + kernel


def searched(
    space: Space, cost: CostModel, sampler: optuna.samplers.BaseSampler, trials: int, seed: int, noise: float = 0.006
) -> np.ndarray:
    """(n, 3): seen accuracy, true accuracy, gflops of every distinct architecture that was trained."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    rng = np.random.default_rng(seed)
    rows: dict[str, tuple[float, float, float]] = {}
    while len(rows) < trials:
        trial = study.ask(distributions(space))
        architecture = space.decode(trial.params)
        gflops = cost.cost(architecture).gflops
        true = true_accuracy(architecture, gflops)
        seen = rows.setdefault(architecture.digest, (true + rng.normal(0, noise), true, gflops))
        study.tell(trial, [seen[0], gflops])
    return np.array(list(rows.values()))


def test_the_model_decides_and_beats_random(
    space: Space, cost: CostModel, axes: tuple[Axis, Axis], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the true hypervolume of the front chosen by noisy values, over six landscapes of noise: a gap to the best at most half
    as large. The best front is known: the space is enumerated.
    """
    proposals: list[bool] = []
    original = KnownCostSearch.propose

    def spy(self: KnownCostSearch, *arguments: Any) -> engine.Proposal:
        proposal = original(self, *arguments)
        proposals.append(proposal.by_model)
        return proposal

    monkeypatch.setattr(KnownCostSearch, "propose", spy)
    everything = [(true_accuracy(entry, gflops), gflops) for entry in space.enumerate() if (gflops := cost.cost(entry).gflops)]
    best = hypervolume(everything, axes)
    gaps: dict[str, list[float]] = {"known_cost": [], "random": []}
    for seed in range(6):
        samplers = {
            "known_cost": KnownCostSampler(space, cost.cost, axes, seed=seed),
            "random": optuna.samplers.RandomSampler(seed=seed),
        }
        for name, sampler in samplers.items():
            rows = searched(space, cost, sampler, 50, seed)
            front = rows[ranks(rows[:, [0, 2]], [True, False]) == 0]
            gaps[name].append(best - hypervolume(front[:, [1, 2]], axes))
    plain = 4 * 2
    assert sum(proposals) == 6 * (50 - plain)
    assert np.median(gaps["known_cost"]) < 0.5 * np.median(gaps["random"])
    assert sum(ours < other for ours, other in zip(gaps["known_cost"], gaps["random"], strict=True)) >= 5


def test_the_front_is_that_of_posterior_means(
    space: Space, cost: CostModel, axes: tuple[Axis, Axis], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lucky value moves the front it improves on by far less than its luck."""
    fronts: list[float] = []
    original = engine.expected_hypervolume_improvement

    def spy(costs: Any, mean: Any, deviation: Any, front_costs: Any, front_accuracy: Any) -> Any:
        fronts.append(float(front_accuracy.max()))
        return original(costs, mean, deviation, front_costs, front_accuracy)

    monkeypatch.setattr(engine, "expected_hypervolume_improvement", spy)
    highest = []
    for luck in (0.0, 0.15):
        sampler = KnownCostSampler(space, cost.cost, axes, seed=0, startup=0)
        study = study_of(sampler)
        rng = np.random.default_rng(0)
        random = optuna.samplers.RandomSampler(seed=3)
        donor = optuna.create_study(directions=["maximize", "minimize"], sampler=random)
        for index in range(60):
            trial = donor.ask(distributions(space))
            architecture = space.decode(trial.params)
            gflops = cost.cost(architecture).gflops
            accuracy = true_accuracy(architecture, gflops) + rng.normal(0, 0.006) + (luck if index == 30 else 0.0)
            study.add_trial(
                optuna.create_trial(params=trial.params, distributions=distributions(space), values=[accuracy, gflops])
            )
        fronts.clear()
        study.ask(distributions(space))
        highest.append(fronts[0])
    assert highest[1] - highest[0] < 0.5 * 0.15 / 0.9


@pytest.mark.parametrize(
    "names", [("accuracy",), ("gflops", "accuracy"), ("accuracy", "gflops", "params"), ("macro_f1", "params")]
)
def test_objectives_in_any_order(names: tuple[str, ...], space: Space, cost: CostModel) -> None:
    ends = {"gflops": (0.002, 0.0), "params": (2e5, 0.0), "accuracy": (0.1, 1.0), "macro_f1": (0.02, 1.0)}
    own = [Axis(name, name not in ("gflops", "params"), *ends[name]) for name in names]
    study = study_of(
        KnownCostSampler(space, cost.cost, own, seed=0, startup=4), tuple("maximize" if a.maximise else "minimize" for a in own)
    )
    for _ in range(8):
        trial = study.ask(distributions(space))
        exact = cost.cost(space.decode(trial.params))
        values = {"gflops": exact.gflops, "params": exact.params, "accuracy": 0.6, "macro_f1": 0.6}
        study.tell(trial, [values[name] for name in names])
    assert len({space.decode(trial.params).digest for trial in study.trials}) == 8


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("accuracy", "latency_ms"), "latency_ms is measured by each trial"),
        (
            ("accuracy", "macro_f1", "gflops"),
            "models one of accuracy, .*; found accuracy and macro_f1",
        ),
        (("gflops",), "found none"),
    ],
)
def test_objectives_that_it_cannot_take(names: tuple[str, ...], message: str, space: Space, cost: CostModel) -> None:
    own = [
        Axis(name, name in ("accuracy", "macro_f1"), *((0.1, 1.0) if name in ("accuracy", "macro_f1") else (1.0, 0.0)))
        for name in names
    ]
    with pytest.raises(ValueError, match=message):
        KnownCostSampler(space, cost.cost, own)


def test_directions_of_another_study_are_refused(space: Space, cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    study = study_of(KnownCostSampler(space, cost.cost, axes, seed=0), ("minimize", "minimize"))
    study.tell(study.ask(distributions(space)), [0.5, 0.001])
    with pytest.raises(ValueError, match=r"accuracy \(max\), gflops \(min\)"):
        study.ask(distributions(space))


def test_a_batch_differs_also_where_the_model_is_sure(space: Space, cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    study = study_of(KnownCostSampler(space, cost.cost, axes, seed=0))
    for _ in range(30):
        trial = study.ask(distributions(space))
        architecture = space.decode(trial.params)
        gflops = cost.cost(architecture).gflops
        study.tell(trial, [true_accuracy(architecture, gflops), gflops])
    batch = [space.decode(study.ask(distributions(space)).params) for _ in range(16)]
    assert len({architecture.digest for architecture in batch}) == 16


def test_what_runs_counts_as_trained_with_its_prediction(
    space: Space, cost: CostModel, axes: tuple[Axis, Axis], monkeypatch: pytest.MonkeyPatch
) -> None:
    believed: list[int] = []
    original = Surrogate.believe
    monkeypatch.setattr(Surrogate, "believe", lambda self, rows: (believed.append(len(rows)), original(self, rows))[1])
    study = study_of(KnownCostSampler(space, cost.cost, axes, seed=0, startup=6))
    for _ in range(6):
        trial = study.ask(distributions(space))
        study.tell(trial, [0.6, cost.cost(space.decode(trial.params)).gflops])
    for _ in range(4):
        study.ask(distributions(space))
    assert believed == [0, 1, 2, 3]


def test_stopped_and_unfit_trials_change_what_is_proposed(space: Space, cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    """Stopped ones by their epochs; diverged ones are followed by fewer of their kind: here CBAM at the end."""

    def has_late_cbam(architecture: Architecture) -> bool:
        return any(site.stage == 2 and spec.kind == "cbam" for site, spec in architecture.placed)

    def shares(diverge: bool, stop: bool) -> tuple[float, list[str]]:
        study = study_of(KnownCostSampler(space, cost.cost, axes, seed=0))
        late = []
        for number in range(60):
            trial = study.ask(distributions(space))
            architecture = space.decode(trial.params)
            gflops = cost.cost(architecture).gflops
            accuracy = true_accuracy(architecture, gflops)
            if diverge and has_late_cbam(architecture):
                trial.set_constraint("diverged", 1.0)
                study.tell(trial, state=OptunaState.PRUNED)
            elif stop and number % 3:
                storage = study._storage
                storage.set_trial_intermediate_value(trial._trial_id, 2, accuracy - 0.2)
                study.tell(trial, state=OptunaState.PRUNED)
            else:
                trial_values = [accuracy, gflops]
                study._storage.set_trial_intermediate_value(trial._trial_id, 2, accuracy - 0.2)
                study.tell(trial, trial_values)
            late.append(has_late_cbam(architecture))
        return float(np.mean(late[30:])), [space.decode(trial.params).digest for trial in study.trials]

    plain, first = shares(diverge=False, stop=False)
    avoided, second = shares(diverge=True, stop=False)
    taught, third = shares(diverge=False, stop=True)
    assert plain > 0.6
    assert avoided < 0.5 * plain
    assert taught > 0.6
    assert len({tuple(first), tuple(second), tuple(third)}) == 3


def test_a_small_space_is_used_up_and_then_drawn_from(cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    study = study_of(KnownCostSampler(SMALL, cost.cost, axes, seed=0, startup=4))
    digests = []
    for _ in range(SMALL.count() + 3):
        trial = study.ask(distributions(SMALL))
        digests.append(SMALL.decode(trial.params).digest)
        study.tell(trial, [0.5, cost.cost(SMALL.decode(trial.params)).gflops])
    assert len(set(digests[: SMALL.count()])) == SMALL.count() == 8


@pytest.mark.parametrize("attention", [{"kind": ["none", "se"], "per": "network"}, {"kind": ["se"], "per": "network"}])
def test_one_backbone_and_one_parameter_or_none(attention: dict[str, Any], cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    from cbam_search.space.attention_config import AttentionConfig
    from cbam_search.space.backbone_config import BackboneConfig

    backbone = BackboneConfig(family="cifar_resnet", depth=(8,), width=(0.25,))
    one = Space(backbone, AttentionConfig.model_validate(attention), in_channels=1, classes=10)
    assert len(one.parameters) == len(attention["kind"]) - 1
    study = study_of(KnownCostSampler(one, cost.cost, axes, seed=0))
    for _ in range(6):
        trial = study.ask(distributions(one))
        study.tell(trial, [0.5, cost.cost(one.decode(trial.params)).gflops])


def test_values_that_are_not_finite_teach_nothing(space: Space, cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    study = study_of(KnownCostSampler(space, cost.cost, axes, seed=0, startup=4))
    for number in range(20):
        trial = study.ask(distributions(space))
        study.tell(trial, [math.inf if number % 4 == 0 else 0.6, cost.cost(space.decode(trial.params)).gflops])
    assert len({space.decode(trial.params).digest for trial in study.trials}) == 20


def test_proposals_depend_on_seed_and_observations_alone(space: Space, cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    """A sampler that proposed all along, and one that is made for the last trial, as after a crash."""

    def told(study: optuna.Study, count: int) -> None:
        for _ in range(count):
            trial = study.ask(distributions(space))
            architecture = space.decode(trial.params)
            gflops = cost.cost(architecture).gflops
            study.tell(trial, [true_accuracy(architecture, gflops), gflops])

    storage = optuna.storages.InMemoryStorage()
    sampler = KnownCostSampler(space, cost.cost, axes, seed=7)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler, storage=storage)
    told(study, 20)
    fresh = KnownCostSampler(space, cost.cost, axes, seed=7)
    again = pickle.loads(pickle.dumps(sampler))
    codes = [entry.propose(study, 20).code for entry in (sampler, fresh, again)]
    assert all(code is not None for code in codes)
    assert codes[0].tobytes() == codes[1].tobytes() == codes[2].tobytes()  # type: ignore[union-attr]
    assert fresh.propose(study, 21).code is not None
    fresh.reseed_rng()
    assert fresh._seed != 7


def test_thousands_of_trials_are_no_trouble(space: Space, cost: CostModel, axes: tuple[Axis, Axis]) -> None:
    """What is learned from is bounded; a generous limit, since machines differ."""
    import time

    study = study_of(KnownCostSampler(space, cost.cost, axes, seed=0))
    random = np.random.default_rng(0)
    offered = distributions(space)
    for _ in range(3000):
        params = {name: entry.choices[random.integers(len(entry.choices))] for name, entry in offered.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=offered, values=[random.uniform(0.5, 0.9), 0.001]))
    study.ask(offered)
    begun = time.perf_counter()
    study.ask(offered)
    assert time.perf_counter() - begun < 2.0
