"""Real tabulations of tiny spaces: whole, partial, gone on with, refused; and the curves are those of the training loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from cbam_search.architecture import Architecture
from cbam_search.backbones.builder import build
from cbam_search.data.load import load
from cbam_search.errors import ConfigError, DataError, ResourceError, SpaceError, UserError
from cbam_search.records.table import read_table
from cbam_search.records.table_journal import journal_folder
from cbam_search.running.tabulation import TableTrainer
from cbam_search.search.reference import BEYOND_THE_WORST
from cbam_search.study import tabulate as module
from cbam_search.study.config import read_study_config
from cbam_search.study.tabulate import tabulate
from cbam_search.training.batches import DataOnDevice
from cbam_search.training.determinism import deterministic
from cbam_search.training.loop import train

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 2,
    "dataset": {"source": "digits", "limit": 300, "validation_fraction": 0.2, "test_fraction": 0.3},
    "backbone": {"family": "cifar_resnet", "depth": 8, "width": [0.125, 0.25]},
    "attention": {"per": "network", "kind": ["none", "se"], "reduction_ratio": 2},
    "training": {"epochs": 2, "batch_size": 64, "lr": 0.2, "warmup_epochs": 0, "augment": ["crop"]},
    "search": {"baselines": ["none"]},
}
"""Four architectures, the two bare ones published."""


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No worker processes, which take seconds to start; returns the tasks that were done."""
    done: list[Any] = []

    def run(start: Callable[[int], Callable[[Any], Any]], tasks: Any, *, workers: int) -> Any:
        work = start(0)
        for task in tasks:
            done.append(task)
            yield task, work(task)

    monkeypatch.setattr(module, "run_tasks", run)
    return done


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(TINY | changes))
    return path


@pytest.mark.usefixtures("_in_this_process")
def test_with_executor_inline_one_worker_is_enough(tmp_path: Path) -> None:
    space = write(tmp_path, resources={"executor": "inline", "cpus_per_trial": 0.25})
    made = tabulate(space, tmp_path / "tiny.parquet", limit=2)
    assert made.metadata.sessions[0].workers == 1


@pytest.mark.slow
def test_a_whole_space_in_two_processes(tmp_path: Path) -> None:
    lines: list[str] = []
    made = tabulate(write(tmp_path), "tables/tiny.parquet", seeds=2, workers=2, note=lines.append)
    assert (made.trained, made.exit_code) == (8, 0)
    table = read_table(tmp_path / "tables" / "tiny.parquet")
    assert table.metadata == made.metadata
    assert table.metadata.complete
    assert table.trained.all()
    assert table.trained.shape == (4, 2)
    assert table.seeds == (2, 3)
    assert np.isfinite(table.validation_accuracy).all()
    assert (table.seconds > 0).all()
    assert (table.processor_seconds > 0).all()
    assert [entry.published for entry in table.entries].count(True) == 2
    assert {entry.parameters["attention.kind"] for entry in table.entries if entry.parameters} == {"none", "se"}
    assert (table.metadata.data.train, table.metadata.data.validation, table.metadata.data.test) == (150, 60, 90)
    assert [axis.name for axis in table.metadata.objectives] == ["accuracy", "gflops"]
    assert table.metadata.objectives[1].reference == BEYOND_THE_WORST * max(entry.gflops for entry in table.entries)
    assert str(tmp_path) not in table.metadata.model_dump_json()
    assert table.metadata.sessions[0].workers == 2
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["tiny.parquet"]
    assert "4 architectures, 2 seeds, 8 trainings of 2 epochs on 150 images" in lines[0]
    assert "[8/8]" in lines[-2]
    assert lines[-2].endswith("0:00 left")
    assert "is complete" in lines[-1]


def test_a_curve_is_that_of_the_training_loop(tmp_path: Path, _in_this_process: list[Any]) -> None:
    path = write(tmp_path)
    tabulate(path, "tiny.parquet", seeds=2)
    table = read_table(Path("tiny.parquet"))
    config, _ = read_study_config(path)
    data = DataOnDevice(load(config.dataset, seed=config.seed), torch.device("cpu"))
    for place, entry in enumerate(table.entries):
        for column, seed in enumerate(table.seeds):
            with deterministic(seed, data.device):
                network = build(entry.decoded())
            curve = list(train(network, data, config.training, seed=seed, device=data.device))
            expected = np.array([epoch.metrics["accuracy"] for epoch in curve], dtype=np.float32)
            assert (table.validation_accuracy[place, column] == expected).all()
            expected = np.array([epoch.metrics["train_loss"] for epoch in curve], dtype=np.float32)
            assert (table.train_loss[place, column] == expected).all()
    assert len({tuple(curve) for curve in table.train_loss.reshape(8, 2).tolist()}) == 8


def test_the_same_command_again_trains_nothing_and_more_seeds_only_what_is_new(
    tmp_path: Path, _in_this_process: list[Any]
) -> None:
    path = write(tmp_path)
    tabulate(path, "tiny.parquet", seeds=1)
    before = read_table(Path("tiny.parquet"))
    assert tabulate(path, "tiny.parquet", seeds=1).trained == 0
    assert len(_in_this_process) == 4
    more = tabulate(path, "tiny.parquet", seeds=2)
    assert more.trained == 4
    assert {task.seed for task in _in_this_process[4:]} == {3}
    after = read_table(Path("tiny.parquet"))
    assert after.metadata.complete
    assert (after.validation_accuracy[:, 0] == before.validation_accuracy[:, 0]).all()
    assert len(after.metadata.sessions) == 2
    with pytest.raises(UserError, match="4 trainings of other seeds or architectures than are asked for"):
        tabulate(path, "tiny.parquet", seeds=1)
    assert read_table(Path("tiny.parquet")).trained.shape == (4, 2)


def test_ctrl_c_leaves_a_table_that_is_not_complete_and_the_same_command_goes_on(
    tmp_path: Path, _in_this_process: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)
    lines: list[str] = []
    with monkeypatch.context() as patched:
        call = TableTrainer.__call__

        def interrupted(self: TableTrainer, task: Any) -> Any:
            if len(_in_this_process) == 4:
                raise KeyboardInterrupt
            return call(self, task)

        patched.setattr(TableTrainer, "__call__", interrupted)
        made = tabulate(path, "tiny.parquet", seeds=2, note=lines.append)
    assert (made.trained, made.exit_code) == (3, 130)
    table = read_table(Path("tiny.parquet"))
    assert not table.metadata.complete
    assert table.trained.sum() == 3
    assert "has 3 of 8 trainings" in lines[-1]
    assert journal_folder(Path("tiny.parquet")).is_dir()
    assert tabulate(path, "tiny.parquet", seeds=2, note=lines.append).trained == 5
    assert read_table(Path("tiny.parquet")).trained.all()
    assert any("3 finished before" in line for line in lines)
    assert len({(task.architecture.digest, task.seed) for task in _in_this_process}) == 8


def test_a_divergence_is_recorded_with_its_time(tmp_path: Path, _in_this_process: list[Any]) -> None:
    recipe = TINY["training"] | {"epochs": 6, "lr": 100.0, "batch_size": 8, "augment": []}
    lines: list[str] = []
    tabulate(
        write(tmp_path, training=recipe, backbone=TINY["backbone"] | {"width": 0.25}), "a.parquet", seeds=2, note=lines.append
    )
    table = read_table(Path("a.parquet"))
    lost = np.isnan(table.test_accuracy)
    assert lost.any()
    assert table.trained.all()
    assert np.isnan(table.validation_accuracy[lost][:, -1]).all()
    for curve, seconds, processor in zip(
        table.validation_accuracy[lost], table.seconds[lost], table.processor_seconds[lost], strict=True
    ):
        begun = int(np.isfinite(curve).sum()) + 1
        assert (seconds[:begun] > 0).all()
        assert (seconds[begun:] == 0).all()
        assert (processor[begun:] == 0).all()
    assert any("diverged" in line for line in lines)
    assert tabulate(tmp_path / "space.yaml", "a.parquet", seeds=2).trained == 0, "NaN is a result too"


def test_published_designs_outside_the_space_and_a_limit(tmp_path: Path, _in_this_process: list[Any]) -> None:
    path = write(tmp_path, search={"baselines": ["none", "cbam"], "published_backbones": 1}, training={"epochs": 1})
    tabulate(path, "a.parquet", seeds=1, limit=4)
    table = read_table(Path("a.parquet"))
    assert [entry.label for entry in table.entries[:2]] == ["cifar_resnet8_0.13", "cifar_resnet8_0.13+cbam"]
    assert [entry.parameters is None for entry in table.entries] == [False, True, False, False]
    assert [entry.published for entry in table.entries] == [True, True, False, False]
    assert (table.metadata.limit, table.metadata.architectures, table.metadata.distinct_architectures) == (4, 4, 4)
    assert tabulate(path, "a.parquet", seeds=1).trained == 1, "the whole space goes on from a sample"


def test_trained_weights_are_started_from(tmp_path: Path, _in_this_process: list[Any]) -> None:
    torch.manual_seed(0)
    bare = build(Architecture.named("cifar_resnet8_0.25", in_channels=1, classes=10))
    save_file(bare.state_dict(), tmp_path / "bare.safetensors")
    backbone = {"family": "cifar_resnet", "depth": 8, "width": 0.25, "weights": "bare.safetensors"}
    path = write(tmp_path, backbone=backbone)
    tabulate(path, "a.parquet", seeds=2)
    table = read_table(Path("a.parquet"))
    assert set(table.metadata.identity.weights) == {"cifar_resnet8_0.25"}
    assert "bare.safetensors" in table.metadata.yaml
    assert str(tmp_path) not in table.metadata.model_dump_json()
    save_file({name: 2 * tensor for name, tensor in bare.state_dict().items()}, tmp_path / "bare.safetensors")
    with pytest.raises(UserError, match=r"other settings or images: backbone\.weights"):
        tabulate(path, "a.parquet", seeds=2)


@pytest.mark.parametrize(
    ("error", "words", "changes"),
    [
        (ConfigError, "width", {"backbone": {"family": "cifar_resnet", "depth": 8, "width": "wide"}}),
        (
            SpaceError,
            "--limit-architectures",
            {"attention": {"per": "block"}, "backbone": {"family": "cifar_resnet", "depth": 56}},
        ),
        (SpaceError, "leave no architecture", {"constraints": {"gflops": {"at_most": 1e-9}}}),
        (DataError, "no test split", {"dataset": {"source": "digits", "test_fraction": 0}}),
        (UserError, "macro_f1", {"objectives": {"macro_f1": "max", "gflops": "min"}}),
        (UserError, "latency_ms", {"objectives": {"accuracy": "max", "latency_ms": "min"}, "latency": {"device": "cpu"}}),
        (
            UserError,
            "a constraint on latency_ms",
            {"constraints": {"latency_ms": {"at_most": 5}}, "latency": {"device": "cpu"}},
        ),
        (ResourceError, "gpus_per_trial is 1", {"resources": {"gpus_per_trial": 1}}),
        (ResourceError, "one trial asks for 10000 CPUs", {"resources": {"cpus_per_trial": 10_000}}),
    ],
)
def test_what_is_refused_before_anything_is_trained(
    tmp_path: Path, _in_this_process: list[Any], error: type[UserError], words: str, changes: dict[str, Any]
) -> None:
    if error is ResourceError and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(error, match=words):
        tabulate(write(tmp_path, **changes), "a.parquet")
    assert not _in_this_process
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_other_settings_and_other_files_at_the_output_are_refused(tmp_path: Path, _in_this_process: list[Any]) -> None:
    tabulate(write(tmp_path), "a.parquet", seeds=1)
    content = Path("a.parquet").read_bytes()
    for changes, words in (
        ({"training": TINY["training"] | {"lr": 0.1}}, "training"),
        ({"attention": TINY["attention"] | {"reduction_ratio": 1}}, "attention"),
        ({"dataset": TINY["dataset"] | {"limit": 200}}, "the images"),
        ({"seed": 3}, "seed, the images"),
        ({"constraints": {"params": {"at_most": 1e9}}}, "constraints"),
    ):
        with pytest.raises(UserError, match=rf"other settings or images: {words}"):
            tabulate(write(tmp_path, **changes), "a.parquet", seeds=1)
    tabulate(write(tmp_path, name="renamed", tracking={"mlflow": False}), "a.parquet", seeds=1)
    assert len(_in_this_process) == 4
    assert math.isclose(len(content), Path("a.parquet").stat().st_size, rel_tol=0.1)
    Path("b.parquet").write_text("a diary")
    with pytest.raises(UserError, match=r"b\.parquet is not a table.*another --output"):
        tabulate(write(tmp_path), "b.parquet", seeds=1)
    assert Path("b.parquet").read_text() == "a diary"
    assert {path.name for path in tmp_path.iterdir()} == {"space.yaml", "a.parquet", "b.parquet"}
    for unwritable in ("b.parquet/a.parquet", "."):
        with pytest.raises(UserError):
            tabulate(write(tmp_path), unwritable, seeds=1)
