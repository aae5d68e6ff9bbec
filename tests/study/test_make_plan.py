"""Plans of real YAML files, with and without data."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cbam_search.errors import CodeNotAllowedError, DataError, UserError
from cbam_search.report.plan_warnings import plan_warnings
from cbam_search.search.plan import Plan
from cbam_search.search.space_costs import SpaceCosts
from cbam_search.study.make_plan import StandIn, make_plan

ATTENTION = "attention: {per: stage, kind: [none, se, cbam], reduction_ratio: [4, 16]}\n"
DIGITS = f"name: x\ndataset: {{source: digits}}\nbackbone: {{family: cifar_resnet, depth: [8, 14], width: 0.25}}\n{ATTENTION}"
RESNETS = "name: x\ndataset: {source: parquet, train: none.parquet}\nbackbone: {family: resnet, depth: %s}\n" + ATTENTION
IMAGENET = StandIn(image_size=224, classes=1000)


@pytest.fixture
def plan_of(tmp_path: Path):
    def make(yaml: str, **options: object) -> Plan:
        (tmp_path / "space.yaml").write_text(yaml, encoding="utf-8")
        made = make_plan(tmp_path / "space.yaml", **options)  # type: ignore[arg-type]
        assert [entry.name for entry in tmp_path.iterdir()] == ["space.yaml"]
        return made

    return make


def warned(plan: Plan, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in plan_warnings(plan))


def test_the_digits_are_loaded_and_three_networks_timed(plan_of) -> None:
    threads = torch.get_num_threads()
    plan = plan_of(DIGITS + "search: {trials: 10}\nresources: {executor: inline, cpus_per_trial: 0.25}\n")
    assert torch.get_num_threads() == threads
    assert (plan.data.image_size, plan.data.channels, plan.data.classes) == ((8, 8), 1, 10)
    estimate = plan.estimate
    assert estimate is not None
    gflops = [network.gflops for network in estimate.networks]
    assert len(gflops) == 3
    assert gflops == sorted(gflops)
    assert (gflops[0], gflops[-1]) == plan.costs.range("gflops")
    seconds = [network.epoch_seconds for network in estimate.networks]
    assert min(seconds) <= estimate.epoch_seconds <= max(seconds)
    assert (estimate.trials, estimate.concurrent) == (10, 1)
    assert estimate.hours() == pytest.approx(10 * plan.epochs * estimate.epoch_seconds / 3600)
    assert warned(plan, "validation image", "90 %", "points")


def test_a_space_smaller_than_the_budget(plan_of) -> None:
    yaml = "name: x\ndataset: {source: digits}\nbackbone: {family: cifar_resnet, depth: 8, width: 0.25}\n"
    plan = plan_of(yaml + "attention: {per: network}\nsearch: {trials: 50}\n")
    assert plan.costs.count == 3
    assert warned(plan, "only 3 architectures", "50")
    assert plan.estimate is not None
    assert plan.estimate.trials == 3


def test_without_data_the_yaml_and_the_options_say_what_they_are(plan_of) -> None:
    plan = plan_of(RESNETS % "[18, 50]", stand_in=IMAGENET)
    assert plan.data.channels == 3
    assert plan.estimate is None
    assert "not loaded" in str(plan.untimed)
    named = {design.label: design for design in plan.designs}
    assert round(named["resnet50+cbam"].cost.gflops, 3) == 3.864
    assert plan_warnings(plan) == ()
    sized = (RESNETS % 18).replace("none.parquet", "none.parquet, image_size: [32, 48], channels: 1")
    plan = plan_of(sized, stand_in=StandIn(classes=7))
    assert (plan.data.image_size, plan.data.channels, plan.data.classes) == ((32, 48), 1, 7)


def test_too_little_said_of_the_data(plan_of) -> None:
    with pytest.raises(UserError, match="--classes must"):
        plan_of(RESNETS % 18, stand_in=StandIn(image_size=224))
    with pytest.raises(UserError, match="--image-size must"):
        plan_of(RESNETS % 18, stand_in=StandIn(classes=2))
    with pytest.raises(DataError, match="--classes N --image-size PIXELS"):
        plan_of(RESNETS % 18)
    code = (RESNETS % 18).replace("source: parquet, train: none.parquet", 'source: function, function: "own:data"')
    with pytest.raises(CodeNotAllowedError):
        plan_of(code)


def test_one_backbone_is_a_flat_axis(plan_of) -> None:
    plan = plan_of(RESNETS % 50, stand_in=IMAGENET)
    assert warned(plan, "gflops varies by 0.", "depth or width")
    assert not warned(plan, "params varies")
    assert not warned(plan_of(RESNETS % "[18, 50]", stand_in=IMAGENET), "varies")


def test_constraints_and_what_they_exclude(plan_of) -> None:
    yaml = RESNETS % "[18, 50]"
    bounded = plan_of(yaml + "constraints: {gflops: {at_most: 3.862}, params: {at_most: 2.0e+8}}\n", stand_in=IMAGENET)
    assert 0.5 < bounded.left[0] == bounded.left[1] < 1
    assert bounded.architectures_left == math.floor(bounded.left[0] * bounded.costs.count + 0.5)
    assert warned(bounded, "exclude 1 of 6 published designs", "resnet50+cbam")
    assert warned(bounded, "constraints.params", "excludes nothing")
    nothing = plan_of(yaml + "constraints: {gflops: {at_most: 1.0}}\n", stand_in=IMAGENET)
    assert nothing.left == (0.0, 0.0)
    assert warned(nothing, "excludes everything", "1.814")


def test_bounds_that_exclude_everything_together(plan_of) -> None:
    """One backbone is cheap in multiply-adds, the other in parameters."""
    plan = plan_of(RESNETS % "[18, 50]", stand_in=IMAGENET)
    first, second = plan.costs.backbones
    costs = SpaceCosts(
        (
            replace(first, count=1, added=(), bare=np.array([10**9, 9 * 10**6])),
            replace(second, count=1, added=(), bare=np.array([5 * 10**9, 10**6])),
        )
    )

    def bounded(gflops: float, params: float) -> Plan:
        bounds = {"gflops": gflops, "params": params}
        return replace(plan, costs=costs, bounds=bounds, left=costs.share_within(bounds))

    assert warned(bounded(2.0, 2e6), "launch will refuse", "together exclude everything")
    assert not warned(bounded(2.0, 9e6), "exclude everything")
    assert not warned(bounded(0.5, 9e6), "together")


def test_budgets_that_launch_refuses(plan_of) -> None:
    yaml = RESNETS % "[18, 50]"
    assert warned(plan_of(yaml + "search: {trials: 5}\n", stand_in=IMAGENET), "launch will refuse", "6 published")
    assert warned(plan_of(yaml + "search: {trials: 6}\n", stand_in=IMAGENET), "nothing is searched")
    assert warned(plan_of(yaml + "search: {trials: 20, sampler: grid}\n", stand_in=IMAGENET), "launch will refuse", "grid")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("search: {trials: 2, baselines: [none], scheduler: {kind: pareto_asha}}", ("pareto_asha stops no trial",)),
        (
            "search: {baselines: [none], stop: {epochs: 60}}",
            ("search.stop.epochs is 60", "2 published designs alone"),
        ),
        ("search: {baselines: [], stop: {epochs: 1}}", ("search.stop.epochs is 1", "first training alone may take 30")),
        ("search: {trials: 30, stop: {hypervolume: {}}}", ("last 30 trainings and never ends", "search.trials is 30")),
        ("training: {batch_size: 2048}", ("batch_size (2,048)", "takes 30 steps")),
    ],
)
def test_settings_that_come_to_nothing_are_said(plan_of, changes: str, words: tuple[str, ...]) -> None:
    assert warned(plan_of(DIGITS + changes + "\n", probe=False), *words)
    assert not warned(plan_of(DIGITS, probe=False), words[0])


def test_a_single_architecture(plan_of) -> None:
    yaml = "name: x\ndataset: {source: digits}\nbackbone: {family: cifar_resnet, depth: 8, width: 0.25}\n"
    assert warned(plan_of(yaml + "attention: {kind: none}\n", probe=False), "single architecture")


def test_what_launch_refuses_is_not_timed(plan_of) -> None:
    plan = plan_of(DIGITS + "constraints: {params: {at_most: 10}}\n")
    assert plan.untimed == "nothing can be trained"


def test_what_no_trial_can_have_here_is_not_timed(plan_of) -> None:
    plan = plan_of(DIGITS + "resources: {cpus_per_trial: 100000}\n")
    assert plan.estimate is None
    assert "100000 CPUs" in str(plan.untimed)
    assert plan_of(DIGITS, probe=False).untimed == "it was not asked for"


def test_what_launch_would_refuse_on_this_machine_is_said(plan_of) -> None:
    plan = plan_of(DIGITS + "search: {start_from: nowhere}\n", stand_in=StandIn(image_size=8, classes=10))
    assert warned(plan, "launch will refuse this file here", "search.start_from", "nowhere")
    assert not warned(plan_of(DIGITS, stand_in=StandIn(image_size=8, classes=10)), "refuse")


def test_validation_images_of_one_class_are_refused_beforehand(plan_of) -> None:
    plan = plan_of(DIGITS.replace("source: digits", "source: digits, validation_fraction: 0.0001"), probe=False)
    assert plan.data.validation_classes == 1
    assert warned(plan, "launch will refuse this file", "validation images are all of one class", "validation_fraction")
