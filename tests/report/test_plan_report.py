"""A plan in words, as JSON and as a picture; made without data."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cbam_search.errors import UserError
from cbam_search.report.figures.plan import check_picture, plan_figure, plan_picture
from cbam_search.report.plan_json import plan_json
from cbam_search.report.terminal.plan import plan_text, share_text
from cbam_search.search.config import SchedulerConfig, StopConfig
from cbam_search.search.plan import Plan, TimedNetwork, TimeEstimate
from cbam_search.study.make_plan import StandIn, make_plan

YAML = """\
name: resnets
dataset: {source: digits}
backbone: {family: cifar_resnet, depth: [8, 14, 44], width: [0.25, 1.0]}
attention: {kind: [none, se, cbam], reduction_ratio: [2, 4, 16]}
constraints: {gflops: {at_most: 0.012}}
"""
ESTIMATE = TimeEstimate(
    networks=(TimedNetwork("cheap", 0.001, 1.0, 64, 32), TimedNetwork("dear", 0.01, 9.0, 16, 16)),
    epoch_seconds=4.0,
    trials=100,
    epochs=36,
    concurrent=4,
    undisturbed=1,
    threads=2,
    hardware="a machine",
)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("plan") / "space.yaml"
    path.write_text(YAML, encoding="utf-8")
    return make_plan(path, stand_in=StandIn(image_size=32, classes=10))


def test_the_text_says_what_the_plan_holds(plan: Plan) -> None:
    text = plan_text(plan)
    assert f"{plan.costs.count:,}" in text
    assert "6 backbones" in text
    assert "cifar_resnet44_0.25+cbam" in text
    assert "not timed: the data were not loaded" in text
    assert "warning: the constraints exclude" in text
    assert "1 GFLOP = 1e9 multiply-adds" in text


def test_what_was_found_in_the_data_is_shown(plan: Plan) -> None:
    notes = ("2 classes: cat 8, dog 8.", "1 image is odd.")
    found = replace(plan, data=replace(plan.data, notes=notes))
    assert "\nData\n  2 classes: cat 8, dog 8.\n  1 image is odd.\n" in plan_text(found)
    assert plan_json(found)["data"]["notes"] == notes
    assert "\nData\n" not in plan_text(plan)


def test_hours_and_their_limits(plan: Plan) -> None:
    timed = replace(plan, estimate=ESTIMATE, untimed=None)
    text = plan_text(timed)
    assert "about 1:00:00 of training, 4 at a time" in text
    assert "like the cheapest 15:00, like the costliest 2:15:00" in text
    assert "4:00:00 if they gain nothing" in text
    time = plan_json(timed)["time"]
    assert (time["hours"], time["hours_at_worst"]) == (1.0, 4.0)
    assert (time["hours_if_all_cheapest"], time["hours_if_all_costliest"]) == (0.25, 2.25)


def test_early_stopping_makes_the_hours_an_upper_bound_and_budgets_are_named(plan: Plan) -> None:
    assert "early stopping" not in plan_text(plan)
    stop = StopConfig.model_validate({"hours": 8, "epochs": 2000, "hypervolume": {}})
    early = replace(plan, estimate=ESTIMATE, epochs=36, scheduler=SchedulerConfig(kind="pareto_asha"), stop=stop)
    # 3 epochs of all, 6 more of a third, 18 of a ninth, 9 of a twenty-seventh
    assert early.expected_epochs == pytest.approx(3 + 6 / 3 + 18 / 9 + 9 / 27)
    text = plan_text(early)
    assert "so at most: were each rung to let one trial in 3 go on, the sampler's would take 7.33 of 36 epochs" in text
    assert (
        "no training is started after 8 hours or 2,000 epochs\n  nor once the hypervolume improves by less than 0.1 %" in text
    )
    read = json.loads(json.dumps(plan_json(early)))
    assert read["scheduler"]["expected_epochs"] == early.expected_epochs
    assert read["stop"]["epochs"] == 2000
    assert plan_json(plan)["scheduler"]["expected_epochs"] is None


def test_json_keeps_whole_numbers_whole(plan: Plan) -> None:
    read = json.loads(json.dumps(plan_json(plan)))
    assert read["distinct_architectures"] == plan.costs.count > 2**53
    assert sum(entry["distinct_architectures"] for entry in read["backbones"]) == plan.costs.count
    costs = read["costs"]["gflops"]
    assert costs["min"] <= costs["quantiles"]["0.05"] <= costs["quantiles"]["0.95"] <= costs["max"]
    assert read["left"]["share"] == list(plan.left)
    assert {entry["label"] for entry in read["published"] if entry["excluded"]} >= {"cifar_resnet44"}
    assert read["time"] is None
    assert read["warnings"]


@pytest.mark.parametrize("objective", ["gflops", "params"])
def test_pictures_as_png_and_svg(plan: Plan, objective: str, tmp_path: Path) -> None:
    drawn = replace(plan, objectives={"accuracy": "max", objective: "min"})
    picture = Image.open(io.BytesIO(plan_figure(drawn, "png")))
    assert picture.width == 1378
    assert len(picture.convert("RGB").getcolors(1_000_000) or []) > 20
    plan_picture(drawn, tmp_path / "plan.svg")
    svg = (tmp_path / "plan.svg").read_text(encoding="utf-8")
    assert svg.startswith("<?xml")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.svg"]


def test_a_backbone_with_one_architecture_can_be_drawn(plan: Plan) -> None:
    entry = plan.costs.backbones[0]
    (added, times), *_ = entry.added
    single = replace(entry, added=((added.of(added.values[:1]), times),), count=1)
    assert plan_figure(replace(plan, costs=replace(plan.costs, backbones=(single,))), "png")


@pytest.mark.parametrize(("name", "words"), [("plan.pdf", "ends in .png or .svg"), ("none/plan.png", "no such folder")])
def test_pictures_that_could_not_be_written(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_picture(tmp_path / name)


def test_shares_in_words() -> None:
    assert share_text(0.0, 0.0) == "nothing"
    assert share_text(1.0, 1.0) == "everything"
    assert share_text(0.123456, 0.123457) == "12.35 %"
    assert share_text(0.1, 0.2) == "10.00 % to 20.00 %"
    assert share_text(1e-14, 1e-13) == "< 1e-7 %"


def test_a_latency_is_said_to_be_measured_by_trials(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    timed = "objectives: {accuracy: max, latency_ms: min}\nlatency: {device: H100, batch_size: 8}\n"
    path.write_text(YAML.replace("constraints: {", "constraints: {latency_ms: {at_most: 5}, ") + timed, encoding="utf-8")
    plan = make_plan(path, stand_in=StandIn(image_size=32, classes=10))
    text = plan_text(plan)
    assert "each trial measures it before it trains, in batches of 8, on a device named 'H100'" in text
    assert "those above 5 ms are then not trained" in text
    assert plan.bounds == {"gflops": 0.012}
    read = json.loads(json.dumps(plan_json(plan)))
    assert (read["latency"]["device"], read["latency"]["at_most"]) == ("H100", 5.0)
    assert plan_figure(plan, "png")
