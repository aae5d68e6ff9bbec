"""Searches replayed on a table: the fake clock, what is counted, and how a front is scored. The table here is made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from peers import METHODS
from search_quality import Job, Scores, main, run
from search_quality_report import at, first_reached, reached_for_good
from simulation import Setting, Simulated, report_of, simulate

from cbam_search.cost.model import CostModel
from cbam_search.metrics import TEST_ACCURACY, Measured
from cbam_search.pareto import Axis, hypervolume
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.table import (
    Table,
    TableData,
    TableEntry,
    TableIdentity,
    TableMetadata,
    read_table,
    write_table,
)
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig
from cbam_search.study.yaml_file import parse_yaml
from cbam_search.training.epoch import Epoch

EPOCHS, SEEDS = 8, (0, 1, 2)
YAML = """\
name: made-up
dataset: {source: digits}
backbone: {family: cifar_resnet, depth: [8, 14], width: [0.25, 0.5]}
attention: {per: stage, kind: [none, se, cbam]}
training: {epochs: 8}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Accuracy grows a little with compute, more with SE in the first stage and CBAM in the last; an epoch takes a second."""
    config = parse_yaml(YAML, "made-up", StudyConfig)
    space = Space(config.backbone, config.attention, in_channels=1, classes=10)
    cost = CostModel((8, 8)).cost
    rng = np.random.default_rng(0)
    entries, evaluations = [], []
    for architecture in space.enumerate():
        price = cost(architecture)
        entry = TableEntry(
            digest=architecture.digest,
            label=architecture.label,
            architecture=architecture.canonical_json,
            parameters=space.encode(architecture),
            published=False,
            gflops=price.gflops,
            params=price.params,
        )
        entries.append(entry)
        placed = {(site.stage, spec.kind) for site, spec in architecture.placed}
        true = 0.45 + 0.1 * np.log10(price.gflops / 5e-5) + 0.1 * ((0, "se") in placed) + 0.3 * ((2, "cbam") in placed)
        for seed in SEEDS:
            last = true + rng.normal(0.0, 0.01)
            curve = [float(last * (1 - 0.5 ** (epoch + 1))) for epoch in range(EPOCHS)]
            epochs = tuple(
                Epoch(number, {"accuracy": accuracy, "train_loss": 1.0}, seconds=2.0, processor_seconds=1.0)
                for number, accuracy in enumerate(curve, start=1)
            )
            test = Measured(value=float(true + rng.normal(0.0, 0.01)))
            outcome = Outcome(state=TrialState.COMPLETE, metrics={TEST_ACCURACY: test}, epochs=EPOCHS)
            evaluations.append(Evaluation(architecture=architecture, seed=seed, epochs=epochs, outcome=outcome))
    axes = (
        ObjectiveAxis(name="accuracy", direction="max", reference=0.1, ideal=1.0),
        ObjectiveAxis(name="gflops", direction="min", reference=max(entry.gflops for entry in entries), ideal=0.0),
    )
    metadata = TableMetadata(
        complete=True,
        name="made-up",
        seeds=SEEDS,
        epochs=EPOCHS,
        architectures=len(entries),
        distinct_architectures=len(entries),
        limit=None,
        data=TableData(train=1, validation=1, test=1, class_names=tuple("0123456789"), channels=1, image_size=(8, 8)),
        objectives=axes,
        bounds={},
        identity=TableIdentity(
            architecture_schema_version=2, settings={}, data="d" * 64, test="t" * 64, device="cpu", threads=1
        ),
        sessions=(),
        yaml=YAML,
        resolved_yaml=config.resolved_yaml(),
    )
    found = tmp_path_factory.mktemp("table") / "made-up.parquet"
    write_table(found, metadata, entries, evaluations)
    return found


@pytest.fixture(scope="module")
def setting(path: Path) -> Setting:
    return Setting(read_table(path))


def searched(setting: Setting, name: str, *, workers: int = 1, epochs_at_most: int = 80, seed: int = 0) -> Simulated:
    method, draws = METHODS[name], Scores.of(setting.table, seed).draws
    return simulate(
        setting,
        method.config(epochs_at_most // EPOCHS),
        draws,
        workers=workers,
        epochs_at_most=epochs_at_most,
        seed=seed,
        rungs=method.rungs,
        published=method.first(setting),
    )


def test_the_clock_and_the_counts_of_full_trainings(setting: Setting) -> None:
    """Every epoch takes a second: with two workers two trainings end at a time, and the first of them has paid for both."""
    alone = searched(setting, "random")
    assert alone.seconds.tolist() == [8.0 * number for number in range(1, 11)]
    assert alone.epochs.tolist() == alone.seconds.tolist()
    gflops = np.array([setting.table.entries[row].gflops for row in alone.rows])
    assert alone.gflop_epochs == pytest.approx(np.cumsum(8 * gflops))
    two = searched(setting, "random", workers=2)
    assert two.seconds.tolist() == [8.0 * (1 + number // 2) for number in range(10)]
    assert two.epochs[:4].tolist() == [15, 16, 31, 32]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "gp"])
def test_every_search_is_reproducible_and_trains_nothing_twice(name: str, setting: Setting) -> None:
    first, again = (searched(setting, name, workers=4, epochs_at_most=240) for _ in range(2))
    assert first.rows.tolist() == again.rows.tolist()
    assert len(set(first.rows.tolist())) == len(first.rows)
    assert first.epochs.tolist() == sorted(first.epochs.tolist())
    stops = METHODS[name].stops != "none"
    assert (first.started - len(first.rows) > 4) is stops


def test_a_space_that_is_used_up_ends_the_search(setting: Setting) -> None:
    found = searched(setting, "random", workers=4, epochs_at_most=100_000)
    assert sorted(found.rows.tolist()) == list(range(len(setting.table.entries)))
    assert found.epochs[-1] == EPOCHS * len(setting.table.entries)


def test_bare_networks_come_first_where_a_method_says_so(setting: Setting) -> None:
    found = searched(setting, "tpe, bare first", epochs_at_most=4 * EPOCHS)
    assert all(not setting.table.entries[row].decoded().attention for row in found.rows[:4])


def test_what_is_stopped_costs_the_epochs_that_it_had(setting: Setting) -> None:
    found = searched(setting, "known_cost + pareto_asha", epochs_at_most=120)
    stopped = found.started - len(found.rows)
    assert stopped > 0
    assert found.epochs[-1] <= len(found.rows) * EPOCHS + stopped * 3


def test_a_front_is_chosen_by_what_was_seen_and_scored_by_the_other_seeds() -> None:
    axes = (Axis("accuracy", True, 0.0, 1.0), Axis("gflops", False, 1.0, 0.0))
    seen, true, gflops = np.array([0.5, 0.9, 0.8]), np.array([0.5, 0.6, 0.7]), np.array([0.2, 0.5, 0.6])
    scores = Scores(np.zeros(3, dtype=np.int64), seen, true, gflops, axes)
    # The third is dominated as seen, though it is the best in truth.
    assert scores.whole == pytest.approx(hypervolume([(0.5, 0.2), (0.6, 0.5)], axes))
    assert scores.best == pytest.approx(hypervolume([(0.5, 0.2), (0.6, 0.5), (0.7, 0.6)], axes))
    assert scores.worth(np.array([0, 2])) == pytest.approx(hypervolume([(0.5, 0.2), (0.7, 0.6)], axes))
    assert scores.worth(np.array([], dtype=np.int64)) == 0.0


def test_draws_are_the_repetition_s_and_scores_leave_the_drawn_seed_out(setting: Setting) -> None:
    table = setting.table
    scores = Scores.of(table, 3)
    assert scores.draws.tolist() == Scores.of(table, 3).draws.tolist() != Scores.of(table, 4).draws.tolist()
    others = [seed for seed in range(3) if seed != scores.draws[5]]
    assert scores.true[5] == pytest.approx(table.test_accuracy[5, others].mean())
    assert scores.seen[5] == table.validation_accuracy[5, scores.draws[5], -1]


def test_what_diverged_is_told_as_such_and_is_worth_chance(setting: Setting) -> None:
    table = setting.table
    curves, test = table.validation_accuracy.copy(), table.test_accuracy.copy()
    curves[::2, :, 3:], test[::2] = np.nan, np.nan
    lost: Table = replace(table, validation_accuracy=curves, test_accuracy=test)
    found = searched(Setting(lost), "random", epochs_at_most=300)
    assert all(row % 2 for row in found.rows)
    assert found.started > len(found.rows)
    assert Scores.of(lost, 0).true[0] == pytest.approx(0.1)


def test_what_diverged_counts_the_epochs_before() -> None:
    """As a worker does, and a table."""
    lost = report_of(4, EPOCHS, float("nan"))
    assert lost.epoch is None
    assert lost.outcome is not None
    assert (lost.outcome.state, lost.outcome.epochs) == (TrialState.DIVERGED, 3)
    whole = report_of(EPOCHS, EPOCHS, 0.5).outcome
    assert whole is not None
    assert whole.epochs == EPOCHS


def test_first_reached_is_of_the_first_training_and_infinite_where_there_is_none() -> None:
    trace = {"share": [0.5, 0.99, 0.98], "epochs": [6.0, 12.0, 18.0], "seconds": [3600.0, 7200.0, 10800.0]}
    assert first_reached(trace, 0.98, "epochs") == 12.0
    assert first_reached(trace, 0.98, "seconds") == 2.0
    assert first_reached(trace, 0.995, "epochs") == float("inf")
    assert reached_for_good(trace, 0.98, "epochs") == 12.0
    assert reached_for_good(trace, 0.985, "epochs") == float("inf")
    assert reached_for_good(trace, 0.4, "epochs") == 6.0
    assert at([trace], "epochs", 5.9).tolist() == [0.0]
    assert at([trace], "epochs", 17.9).tolist() == [0.99]


def test_known_cost_needs_less_training_than_random(path: Path) -> None:
    """The product's own search on the fake clock, ten times: by the epochs to 99 % of what the whole table would choose."""
    needed = {
        name: [
            first_reached(vars(run(Job(path, METHODS[name], 4, number, 50 * EPOCHS))), 0.99, "epochs") for number in range(10)
        ]
        for name in ("random", "known_cost")
    }
    assert np.median(needed["known_cost"]) < 0.75 * np.median(needed["random"])


def test_the_command_writes_table_picture_and_figures(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "found" / "quality"
    arguments = ["--repetitions", "2", "--workers", "2", "--epochs-at-most", "24", "--methods", "random", "known_cost"]
    main([str(path), *arguments, "--output", str(output)])
    text = output.with_suffix(".txt").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    assert "2 workers: what it takes to reach" in text
    assert "> 24" in text, "a search that never got there is shown as censored"
    assert output.with_suffix(".png").stat().st_size > 10_000
    raw = json.loads(output.with_suffix(".json").read_text())
    assert len(raw["traces"]) == 4
    arguments[-2:] = ["tpe", "known_cost"]
    main([str(path), *arguments, "--output", str(output), "--add"])
    added = json.loads(output.with_suffix(".json").read_text())
    assert [trace["method"] for trace in added["traces"]] == ["random"] * 2 + ["tpe"] * 2 + ["known_cost"] * 2
    with pytest.raises(SystemExit, match="differs in budget_epochs"):
        main([str(path), *arguments, "--epochs-at-most", "16", "--output", str(output), "--add"])
